//! A snapshot of a running node: the node makes it, and this command waits and reports the progress.

use std::path::Path;
use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
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
    let job = admin.wait(context, ended(&admin, dir, meter))?;
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
