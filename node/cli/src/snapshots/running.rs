//! A snapshot of a running node: the node makes it, and this command waits and reports the progress.

use std::path::Path;
use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use vibecoin_rpc_api::Code;
use vibecoin_rpc_api::methods::SnapshotAdminApiClient as _;
use vibecoin_rpc_api::views::{SnapshotJobState, SnapshotJobView, SnapshotView};
use vibecoin_snapshots::{Phase, Progress};

use super::Meter;
use crate::admin::Admin;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Time between two questions about the progress.
const POLL: Duration = Duration::from_millis(200);

/// Part of the node's message while it makes another snapshot.
const BEING_MADE: &str = "is being made";

/// Has the node of the home make a snapshot.
///
/// # Errors
/// Exit 2 for a folder whose name is not UTF-8, 3 when the node has no listener for its operator, else the reason why
/// it made none.
pub fn create(context: &Context, dir: Option<&Path>) -> Result<SnapshotView, CliError> {
    let admin = Admin::of(context)?;
    let dir = dir.map(|dir| std::path::absolute(dir).map_err(CliError::file("find", dir)));
    let dir = dir.transpose()?;
    let dir = dir.map(|dir| dir.into_os_string().into_string());
    let dir = dir.transpose().map_err(|dir| {
        let message = format!(
            "--dir {} is not UTF-8 text, as a request to a running node is",
            dir.display()
        );
        CliError::usage(message)
    })?;
    context.expect_reports();
    let meter = Meter::on_stderr(context.globals.no_progress);
    let job = admin.wait(context, ended(&admin, dir, meter)).map_err(refused)?;
    match (job.snapshot, job.error) {
        (Some(snapshot), _) => Ok(snapshot),
        (None, reason) => Err(CliError::new(
            Exit::Failure,
            format!("the node made no snapshot: {}", reason.unwrap_or_default()),
        )
        .reason("snapshot_failed")
        .hint(
            "the log of the node has the reason, too; `vibecoin snapshot list` shows the snapshots of a home",
        )),
    }
}

/// A refusal of the job. The hint for the code is about peers, and the exit code is that of the same fault at a stopped
/// home.
fn refused(error: CliError) -> CliError {
    if error.code != i64::from(Code::AdminRefused.number()) {
        return error;
    }
    if error.message.contains(BEING_MADE) {
        let exit = Exit::Locked;
        return CliError { exit, ..error }.hint("wait until it has ended");
    }
    CliError { hint: None, ..error }
}

/// Begins the job and returns it when it has ended.
async fn ended(admin: &Admin, dir: Option<String>, mut meter: Meter) -> Result<SnapshotJobView, ClientError> {
    let mut job = admin.client.create(dir).await?;
    while job.state == SnapshotJobState::Running {
        let _goes_on = meter.print(Progress {
            phase: Phase::Create,
            done: job.done.0,
            all: job.all.0,
            bytes: job.bytes.0,
        });
        tokio::time::sleep(POLL).await;
        if let Some(now) = admin.client.get_job().await? {
            job = now;
        }
    }
    Ok(job)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_rpc_api::ApiError;

    use super::*;

    #[test]
    fn a_refusal_is_about_snapshots() {
        let of = |message: &str| refused(ApiError::new(Code::AdminRefused, message.to_owned()).into());
        let busy = of("a snapshot of height 7 is being made");
        assert_eq!(busy.exit, Exit::Locked);
        assert!(busy.hint.unwrap().starts_with("wait"));
        assert_eq!(of("the node is stopping").hint, None);
        let other = CliError::usage("another").hint("wait until it has ended");
        assert_eq!(refused(other.clone()), other);
    }
}
