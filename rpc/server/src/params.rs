//! Checks parameters before the generated code sees them: it ignores unknown names.
//!
//! One pass over the text, which is valid JSON already: depth, repeated names, unknown names, too many
//! positions. Options that stand beside the parameters are moved into the object `options`.

use std::borrow::Cow;

use vibecoin_rpc_api::ApiError;
use vibecoin_rpc_api::limits::JSON_DEPTH_MAX;
use vibecoin_rpc_api::registry::Method;

/// Maximum number of members of one object. The largest object of the interface has a dozen; the bound keeps the
/// search for repeated names cheap.
const MEMBERS_MAX: usize = 64;

/// Checks `params` for `method` and returns them in the form that the generated code reads.
///
/// # Errors
/// -32602 with the name of the fault.
pub(crate) fn check<'p>(method: &Method, params: &'p str) -> Result<Cow<'p, str>, ApiError> {
    match Scan::new(params).run()? {
        Shape::Array { count } => {
            let most = method
                .params
                .len()
                .saturating_add(usize::from(method.has_options()));
            if count > most {
                let message = format!("{} takes at most {most} parameters, got {count}", method.name);
                return Err(ApiError::invalid_params("too_many_params", message));
            }
            complete(method, |index, _| index < count)?;
            Ok(Cow::Borrowed(params))
        }
        Shape::Object { members } => by_name(method, params, &members),
        Shape::Scalar => Err(ApiError::invalid_params(
            "invalid_params",
            "parameters are an object (by name) or an array (by position)",
        )),
    }
}

/// Checks a call without parameters.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_absent(method: &Method) -> Result<(), ApiError> {
    complete(method, |_, _| false)
}

/// Refuses a call without a required parameter. The generated code reports only that there are too
/// few.
fn complete(method: &Method, is_there: impl Fn(usize, &str) -> bool) -> Result<(), ApiError> {
    let mut params = method.params.iter().enumerate();
    let missing = params.find(|(index, param)| param.required && !is_there(*index, param.name));
    let Some((_, missing)) = missing else {
        return Ok(());
    };
    let message = format!("{} needs the parameter `{}`", method.name, missing.name);
    Err(ApiError::invalid_params("invalid_params", message).with("parameter", missing.name))
}

fn by_name<'p>(
    method: &Method,
    params: &'p str,
    members: &[(&'p str, &'p str)],
) -> Result<Cow<'p, str>, ApiError> {
    let is_param = |name: &str| method.params.iter().any(|param| param.name == name);
    let is_option = |name: &str| method.options.iter().any(|option| option.name == name);
    let mut beside = false;
    for (name, _) in members {
        if is_option(name) {
            beside = true;
        } else if !is_param(name) && (*name != "options" || !method.has_options()) {
            return Err(unknown(method, name));
        }
    }
    complete(method, |_, name| members.iter().any(|(given, _)| *given == name))?;
    if !beside {
        return Ok(by_position_only(method, params, members));
    }
    if members.iter().any(|(name, _)| *name == "options") {
        return Err(ApiError::invalid_params(
            "options_twice",
            "options stand either beside the parameters or in `options`, not both",
        ));
    }
    // The values are copied once: they can be as long as a request.
    let mut moved = String::with_capacity(params.len().saturating_add(16));
    moved.push('{');
    push_members(&mut moved, members, is_param);
    if moved.len() > 1 {
        moved.push(',');
    }
    moved.push_str("\"options\":{");
    push_members(&mut moved, members, is_option);
    moved.push_str("}}");
    Ok(Cow::Owned(moved))
}

/// Writes the members that are `own`, with commas between them.
fn push_members(out: &mut String, members: &[(&str, &str)], own: impl Fn(&str) -> bool) {
    let own = members.iter().filter(|(name, _)| own(name));
    for (index, (name, value)) in own.enumerate() {
        out.push_str(if index == 0 { "\"" } else { ",\"" });
        out.push_str(name);
        out.push_str("\":");
        out.push_str(value);
    }
}

/// The library reads the parameter of `sub_unsubscribe` by position only.
fn by_position_only<'p>(method: &Method, params: &'p str, members: &[(&'p str, &'p str)]) -> Cow<'p, str> {
    match members {
        [(_, id)] if method.name == "sub_unsubscribe" => Cow::Owned(format!("[{id}]")),
        _ => Cow::Borrowed(params),
    }
}

/// Refuses a member of a request, `params` or another, that is nested too deep.
pub(crate) fn too_deep(member: &str) -> ApiError {
    let shown: String = member.chars().take(64).collect();
    let message = format!("`{shown}` is nested deeper than {JSON_DEPTH_MAX}");
    ApiError::invalid_params("too_deep", message).with("depthMax", JSON_DEPTH_MAX)
}

pub(crate) fn unknown(method: &Method, name: &str) -> ApiError {
    let mut known: Vec<&str> = method
        .params
        .iter()
        .chain(method.options)
        .map(|param| param.name)
        .collect();
    if method.has_options() {
        known.push("options");
    }
    let shown: String = name.chars().take(64).collect();
    let message = if known.is_empty() {
        format!("unknown parameter `{shown}`: {} takes none", method.name)
    } else {
        format!(
            "unknown parameter `{shown}`: {} takes {}",
            method.name,
            known.join(", ")
        )
    };
    ApiError::invalid_params("unknown_parameter", message).with("parameter", shown)
}

/// Kind of the outermost value.
enum Shape<'p> {
    Scalar,
    Array { count: usize },
    Object { members: Vec<(&'p str, &'p str)> },
}

/// One pass over JSON that is known to be valid.
struct Scan<'p> {
    text: &'p str,
    at: usize,
    /// One per open bracket: where its names begin in `names`, or `None` for an array.
    open: Vec<Option<usize>>,
    names: Vec<&'p str>,
    /// True if the next string of the innermost object is a name.
    name_next: bool,
}

impl<'p> Scan<'p> {
    fn new(text: &'p str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::with_capacity(8),
            names: Vec::with_capacity(8),
            name_next: false,
        }
    }

    fn run(mut self) -> Result<Shape<'p>, ApiError> {
        let bytes = self.text.as_bytes();
        let mut outer_object = false;
        let (mut commas, mut empty) = (0usize, true);
        let mut members: Vec<(&str, &str)> = Vec::new();
        let mut value_from = 0;
        while let Some(byte) = bytes.get(self.at) {
            let depth = self.open.len();
            match byte {
                b'"' => {
                    let text = self.string();
                    empty &= depth != 1;
                    if self.name_next {
                        self.name(text)?;
                        if depth == 1 {
                            members.push((text, ""));
                        }
                    }
                    continue;
                }
                b'{' | b'[' => {
                    if depth >= JSON_DEPTH_MAX {
                        return Err(too_deep("params"));
                    }
                    empty &= depth != 1;
                    let object = *byte == b'{';
                    outer_object |= object && depth == 0;
                    self.open.push(object.then_some(self.names.len()));
                    self.name_next = object;
                }
                b'}' | b']' => {
                    if depth == 1 {
                        self.close_member(&mut members, value_from);
                    }
                    if let Some(Some(first)) = self.open.pop() {
                        self.names.truncate(first);
                    }
                    self.name_next = false;
                }
                b',' => {
                    if depth == 1 {
                        commas = commas.saturating_add(1);
                        self.close_member(&mut members, value_from);
                    }
                    self.name_next = matches!(self.open.last(), Some(Some(_)));
                }
                b':' => {
                    self.name_next = false;
                    if depth == 1 {
                        value_from = self.at.saturating_add(1);
                    }
                }
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => empty &= depth != 1,
            }
            self.at = self.at.saturating_add(1);
        }
        Ok(match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') if outer_object => Shape::Object { members },
            Some(b'[') => Shape::Array {
                count: if empty { 0 } else { commas.saturating_add(1) },
            },
            _ => Shape::Scalar,
        })
    }

    /// Moves behind the string that starts here and returns what is between its quotes, as written.
    fn string(&mut self) -> &'p str {
        let from = self.at.saturating_add(1);
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        let mut len = 0usize;
        let mut escaped = false;
        for byte in rest {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break,
                _ => {}
            }
            len = len.saturating_add(1);
        }
        let to = from.saturating_add(len);
        self.at = to.saturating_add(1);
        self.text.get(from..to).unwrap_or_default()
    }

    fn name(&mut self, name: &'p str) -> Result<(), ApiError> {
        let first = self.open.last().copied().flatten().unwrap_or(0);
        let siblings = self.names.get(first..).unwrap_or_default();
        // Two spellings of one name must not pass as two names.
        if name.contains('\\') {
            return Err(ApiError::invalid_params(
                "escaped_name",
                "names are written without escapes",
            ));
        }
        if siblings.contains(&name) {
            let shown: String = name.chars().take(64).collect();
            let message = format!("`{shown}` is given twice");
            return Err(ApiError::invalid_params("repeated_parameter", message).with("parameter", shown));
        }
        if siblings.len() >= MEMBERS_MAX {
            let message = format!("an object has more than {MEMBERS_MAX} members");
            return Err(ApiError::invalid_params("too_many_members", message));
        }
        self.names.push(name);
        Ok(())
    }

    /// The value of the outermost object's last member ends here.
    fn close_member(&self, members: &mut [(&'p str, &'p str)], from: usize) {
        if let (Some(Some(_)), Some((_, value))) = (self.open.first(), members.last_mut()) {
            *value = self.text.get(from..self.at).unwrap_or_default();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use vibecoin_rpc_api::registry::find;

    fn run(method: &str, params: &str) -> Result<String, String> {
        check(find(method).unwrap(), params)
            .map(Cow::into_owned)
            .map_err(|error| error.data.reason)
    }

    fn kept(method: &str, params: &str) {
        assert_eq!(run(method, params).as_deref(), Ok(params));
    }

    fn refused(method: &str, params: &str, reason: &str) {
        assert_eq!(run(method, params), Err(reason.to_owned()), "{params}");
    }

    #[test]
    fn known_names_and_positions_are_kept_as_they_are() {
        kept("account_get", r#"{"address":"x"}"#);
        kept(
            "account_get",
            r#" { "address" : "x" , "options" : { "at" : 7 } } "#,
        );
        kept("account_get", r#"["x", {"at": 7}]"#);
        kept("chain_getHead", "[]");
        kept("chain_getHead", " {} ");
        kept("tx_submitBatch", r#"[["0x","0x"],{"wait":"none"}]"#);
    }

    #[test]
    fn options_beside_the_parameters_move_into_their_object() {
        let expected = r#"{"address":"x","options":{"at":{"timestampMs":7},"minHeight": "3" }}"#;
        let given = r#"{"at":{"timestampMs":7},"address":"x","minHeight": "3" }"#;
        assert_eq!(run("account_get", given).as_deref(), Ok(expected));
        let only = run("chain_getBlocks", r#"{"limit":5}"#);
        assert_eq!(only.as_deref(), Ok(r#"{"options":{"limit":5}}"#));
        refused(
            "account_get",
            r#"{"address":"x","at":7,"options":{}}"#,
            "options_twice",
        );
    }

    #[test]
    fn unknown_and_repeated_names_are_refused_by_name() {
        refused("account_get", r#"{"adress":"x"}"#, "unknown_parameter");
        refused("chain_getHead", r#"{"x":1}"#, "unknown_parameter");
        refused("chain_getHead", r#"{"options":{}}"#, "unknown_parameter");
        refused(
            "account_get",
            r#"{"address":"x","address":"y"}"#,
            "repeated_parameter",
        );
        refused(
            "account_get",
            r#"{"address":"x","options":{"at":1,"at":2}}"#,
            "repeated_parameter",
        );
        refused("account_get", r#"["x",{"at":1,"at":2}]"#, "repeated_parameter");
        refused("account_get", r#"{"addre\u0073s":"x"}"#, "escaped_name");
        let error = check(find("account_get").unwrap(), r#"{"adress":"x"}"#).unwrap_err();
        assert!(error.message.contains("`adress`") && error.message.contains("address, at, minHeight"));
    }

    #[test]
    fn the_same_name_in_two_objects_and_quotes_in_strings_are_no_repetition() {
        kept(
            "tx_encode",
            r#"{"unsigned":{"a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]}}"#,
        );
        kept("account_get", r#"{"address":"a\",\"address\":\"b\\"}"#);
        kept("account_get", r#"["{[,:"]"#);
    }

    #[test]
    fn too_many_positions_members_and_levels_are_refused() {
        refused("chain_getHead", "[1]", "too_many_params");
        refused("chain_getHead", r#"[""]"#, "too_many_params");
        refused("account_get", r#"["x",{},{}]"#, "too_many_params");
        refused("account_get", "7", "invalid_params");
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(run("tx_getStatuses", &deep(64)).is_ok());
        refused("tx_getStatuses", &deep(65), "too_deep");
        let many: Vec<String> = (0..65).map(|n| format!("\"k{n}\":1")).collect();
        refused(
            "tx_encode",
            &format!("[{{{}}}]", many.join(",")),
            "too_many_members",
        );
    }

    #[test]
    fn a_parameter_that_is_missing_is_named() {
        for params in ["{}", "[]", r#"{"at":7}"#] {
            let error = check(find("account_get").unwrap(), params).unwrap_err();
            assert_eq!(
                error.message, "account_get needs the parameter `address`",
                "{params}"
            );
            assert_eq!(error.data.facts["parameter"], "address");
        }
        let second = check(find("proof_getStorage").unwrap(), r#"["x"]"#).unwrap_err();
        assert_eq!(second.data.facts["parameter"], "keys");
        assert!(check_absent(find("sub_subscribe").unwrap()).is_err());
        assert!(check_absent(find("chain_getBlock").unwrap()).is_ok());
    }

    #[test]
    fn a_subscription_can_be_ended_by_name() {
        assert_eq!(
            run("sub_unsubscribe", r#"{"subscription":7}"#).as_deref(),
            Ok("[7]")
        );
        kept("sub_unsubscribe", "[7]");
    }
}
