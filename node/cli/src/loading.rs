//! The load generator as the command line sees it: its targets, and the reports of its progress and errors.

use serde_json::json;
use vibecoin_loadgen::{LoadError, Node};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// The node of a context, as a target of load.
///
/// # Errors
/// As [`Context::client`].
pub fn target(context: &Context) -> Result<Node, CliError> {
    Node::new(context.endpoint()?, context.waiting_client()?).map_err(CliError::from)
}

/// Writes a line about the progress, unless the user wants none.
pub fn note(context: &Context, text: &str) {
    if !context.globals.quiet && !context.globals.no_progress {
        output::note(text);
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let message = error.to_string();
        match error {
            LoadError::Rpc(error) => error.into(),
            LoadError::Build(error) => error.into(),
            LoadError::Fee(error) => error.into(),
            LoadError::Api(error) => error.into(),
            LoadError::Unfunded(submitted) => {
                let exit = match submitted.status.success {
                    Some(_) => Exit::Rejected,
                    None => Exit::Timeout,
                };
                Self::new(exit, message).data(json!(submitted))
            }
            LoadError::Disconnected | LoadError::NoNode => Self::new(Exit::CannotConnect, message),
            LoadError::Silent { .. } => Self::new(Exit::Timeout, message),
            LoadError::Closed(_)
            | LoadError::BadEvent(_)
            | LoadError::BadBlock(_)
            | LoadError::Unobserved => Self::new(Exit::Failure, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use vibecoin_rpc_api::{ApiError, Code};

    use super::*;

    #[test]
    fn a_load_that_ends_early_has_the_exit_of_its_cause() {
        for (error, exit, message) in [
            (LoadError::Disconnected, Exit::CannotConnect, "the node went away"),
            (
                LoadError::Silent { seconds: 30 },
                Exit::Timeout,
                "no block for 30 s although transfers wait",
            ),
            (
                LoadError::Closed("lagged".to_owned()),
                Exit::Failure,
                "the node closed the subscription: lagged",
            ),
            (
                LoadError::Api(ApiError::new(Code::InsufficientFunds, "poor")),
                Exit::Rejected,
                "poor",
            ),
        ] {
            let error = CliError::from(error);
            assert_eq!((error.exit, error.message.as_str()), (exit, message));
        }
    }
}
