//! `vibecoin rpc`: any method, with JSON in and JSON out.

use clap::Args;
use jsonrpsee::core::client::ClientT as _;
use jsonrpsee::core::traits::ToRpcParams;
use serde_json::Value;
use serde_json::value::RawValue;
use vibecoin_rpc_api::registry::METHODS;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;

const EXAMPLES: &str = "\
Examples:
  vibecoin rpc chain_getInfo
  vibecoin rpc chain_getBlock '{\"block\":\"latest\",\"transactions\":\"full\"}'
  vibecoin rpc account_get '[\"vibet1…\"]'
  vibecoin rpc rpc_getMethods";

/// Methods whose call a node holds, if its parameters say so.
const HELD: [&str; 3] = ["tx_submit", "tx_submitBatch", "tx_wait"];

/// Arguments of `rpc`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RpcArgs {
    /// The method
    method: String,
    /// Its parameters: a JSON object by name, or an array by position
    params: Option<String>,
}

/// Parameters as typed.
struct Typed(Option<Box<RawValue>>);

impl ToRpcParams for Typed {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

/// Parameters in JSON.
fn parameters(text: String) -> Result<Box<RawValue>, CliError> {
    let method = method_hint(&text);
    RawValue::from_string(text).map_err(|error| {
        let refused = CliError::usage(format!("the parameters are no JSON: {error}"));
        match method {
            Some(hint) => refused.hint(hint),
            None => refused.hint("quote them: '{\"block\":\"latest\"}'"),
        }
    })
}

/// Remedy for a method in the place of parameters, as in `rpc call METHOD`; `None` for another text.
pub fn method_hint(typed: &str) -> Option<String> {
    let is_method = METHODS.iter().any(|method| method.name == typed);
    is_method.then(|| format!("the method is the first argument: `vibecoin rpc {typed}`"))
}

impl RpcArgs {
    /// Calls the method.
    ///
    /// # Errors
    /// The errors of the node; exit 2 when the parameters are not JSON.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let params = self.params.map(parameters).transpose()?;
        let client = if HELD.contains(&self.method.as_str()) {
            context.waiting_client()?
        } else {
            context.client()?
        };
        let value: Value = context.wait(async { Ok(client.request(&self.method, Typed(params)).await?) })?;
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        Ok(Answer::new(value).text(text))
    }
}
