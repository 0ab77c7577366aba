//! Table of the methods: accepted parameter names, costs, and the contents of the OpenRPC document.

use serde_json::{Value, json};

mod kind;
mod table;

pub use kind::Kind;
pub use table::{ADMIN_METHODS, METHODS};

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Type of its values.
    pub kind: Kind,
    /// True if it is required.
    pub required: bool,
}

/// One method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Parameters in positional order, without the options.
    pub params: &'static [Param],
    /// Fields of the trailing object `options`; empty when the method has none.
    pub options: &'static [Param],
    /// Units that a call takes from the caller's budget, when its answer is not longer than as many KiB.
    pub cost: u32,
    /// True if the call may wait longer than the server's general timeout.
    pub waits: bool,
    /// True if the answer can be large: it is built off the threads that serve connections.
    pub large: bool,
    /// Summary for humans.
    pub summary: &'static str,
}

impl Method {
    /// Returns true if the method takes an object `options` after its parameters.
    #[must_use]
    pub const fn has_options(&self) -> bool {
        !self.options.is_empty()
    }
}

/// Blocks of `chain_getStats` that a unit pays for; the method's price covers the first 40.
pub const STATS_BLOCKS_PER_UNIT: u32 = 4;
/// Transactions that a unit pays for where blocks are counted and none of them is shown: header pages of
/// `chain_getBlocks`, and `chain_getStats`. Their receipts are read, 80 bytes each at most.
pub const COUNTED_PER_UNIT: u32 = 128;
/// Units of each block whose ticks `poh_verify` computes; the method's price covers the first five.
pub const POH_BLOCK_UNITS: u32 = 10;
/// Units of each block that the receipts of a `tx_submitBatch` are read from; the method's price covers the
/// first five.
pub const RECEIPTS_BLOCK_UNITS: u32 = 10;

/// The method of the public listener with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Method> {
    find_in(METHODS, name)
}

/// The method with this name in a sorted table.
#[must_use]
pub fn find_in(methods: &'static [Method], name: &str) -> Option<&'static Method> {
    let index = methods.binary_search_by(|method| method.name.cmp(name)).ok()?;
    methods.get(index)
}

/// The interface as an OpenRPC 1.3 document, for the methods that `served` names.
#[must_use]
pub fn openrpc(served: impl Fn(&str) -> bool) -> Value {
    let parameter = |param: &Param| json!({"name": param.name, "required": param.required, "schema": param.kind.schema()});
    let methods = METHODS.iter().filter(|method| served(method.name)).map(|method| {
        let mut params: Vec<Value> = method.params.iter().map(parameter).collect();
        if method.has_options() {
            let fields: serde_json::Map<String, Value> = method
                .options
                .iter()
                .map(|o| (o.name.to_owned(), o.kind.schema()))
                .collect();
            params.push(json!({
                "name": "options",
                "required": false,
                "schema": {"type": "object", "properties": fields, "additionalProperties": false},
            }));
        }
        json!({
            "name": method.name,
            "summary": method.summary,
            "paramStructure": "either",
            "params": params,
            "result": {"name": "result", "schema": {}},
        })
    });
    json!({
        "openrpc": "1.3.2",
        "info": {"title": "VibeCoin", "version": crate::API_VERSION},
        "methods": methods.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_method_is_found() {
        for table in [METHODS, ADMIN_METHODS] {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
            for method in table {
                assert_eq!(find_in(table, method.name), Some(method));
            }
        }
        for admin in ADMIN_METHODS {
            assert_eq!(find(admin.name), None, "for the operator alone");
        }
        assert_eq!(find("chain_getblock"), None);
    }

    #[test]
    fn no_option_has_the_name_of_a_parameter() {
        for method in METHODS.iter().chain(ADMIN_METHODS) {
            for option in method.options {
                let clash = method.params.iter().any(|param| param.name == option.name);
                assert!(
                    !clash && option.name != "options",
                    "{} {}",
                    method.name,
                    option.name
                );
            }
        }
    }

    #[test]
    fn the_document_names_every_method_that_is_served() {
        let document = openrpc(|name| name != "dev_faucet");
        let methods = document["methods"].as_array().unwrap();
        assert_eq!(methods.len(), METHODS.len() - 1);
        assert!(methods.iter().all(|method| method["name"] != "dev_faucet"));
    }
}
