//! SPDX expressions, as far as crates use them: names, `WITH`, `AND`, `OR`, brackets and the old slash.

/// Returns true if `expression` can be met with licences that `allowed` accepts. `AND` binds tighter than `OR`.
pub fn permits(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let verdict = any(&mut rest, allowed)?;
    if rest.is_empty() {
        Ok(verdict)
    } else {
        Err(format!("{expression:?}: unexpected {rest:?}"))
    }
}

fn any(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut verdict = all(rest, allowed)?;
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        verdict |= all(rest, allowed)?;
    }
    Ok(verdict)
}

fn all(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut verdict = one(rest, allowed)?;
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        verdict &= one(rest, allowed)?;
    }
    Ok(verdict)
}

fn one(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let verdict = any(rest, allowed)?;
            let [")", tail @ ..] = *rest else {
                return Err("a bracket is not closed".to_owned());
            };
            *rest = tail;
            Ok(verdict)
        }
        [name, "WITH", exception, tail @ ..] => {
            *rest = tail;
            Ok(allowed(&format!("{name} WITH {exception}")))
        }
        [name, tail @ ..] if !matches!(*name, ")" | "OR" | "AND" | "WITH") => {
            *rest = tail;
            Ok(allowed(name))
        }
        _ => Err(format!("a licence is missing before {rest:?}")),
    }
}

#[test]
fn an_expression_is_permitted_when_one_of_its_choices_is() {
    let allowed = |name: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name);
    for (expression, verdict) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND ISC", true),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND OpenSSL", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(permits(expression, &allowed), Ok(verdict), "{expression}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT ISC", "AND MIT"] {
        assert!(permits(broken, &allowed).is_err(), "{broken:?}");
    }
}
