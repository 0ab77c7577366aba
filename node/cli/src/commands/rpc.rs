//! `vibecoin rpc`: any method, with JSON in and JSON out.

use clap::Args;
use jsonrpsee::core::client::ClientT as _;
use jsonrpsee::core::traits::ToRpcParams;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;

const EXAMPLES: &str = "\
Examples:
  vibecoin rpc chain_getInfo
  vibecoin rpc chain_getBlock '{\"block\":\"latest\",\"transactions\":\"full\"}'
  vibecoin rpc account_get '[\"vibet1…\"]'
  vibecoin rpc rpc_getMethods";

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

impl RpcArgs {
    /// Calls the method.
    ///
    /// # Errors
    /// The errors of the node; exit 2 when the parameters are not JSON.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let params = self
            .params
            .map(RawValue::from_string)
            .transpose()
            .map_err(|error| {
                CliError::usage(format!("the parameters are no JSON: {error}"))
                    .hint("quote them: '{\"block\":\"latest\"}'")
            })?;
        let client = context.client()?;
        let value: Value = context.wait(async { Ok(client.request(&self.method, Typed(params)).await?) })?;
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        Ok(Answer::new(value).text(text))
    }
}
