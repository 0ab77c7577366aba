//! Builds answers that can be large off the threads of the listeners.
//!
//! Reading a block and writing it as JSON takes up to a tenth of a second, which a thread that serves all
//! connections must not spend on one. Such a call waits for its caller's turn ([`crate::work`]), is built on
//! a blocking thread, and releases its turn when its answer is on the account of its connection
//! ([`crate::seats`]). The number of turns times the largest answer bounds the bytes that are being built;
//! the values that they are made of are on top, about as much again.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jsonrpsee::server::MethodResponse;
use tokio::runtime::Handle;
use vibecoin_rpc_api::registry::Method;

use crate::gate::{self, Refused, Rules};
use crate::work::on_a_thread;

/// Maximum bytes of answers under construction.
pub const BUILDING_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Maximum bytes of one of them. A full block of 4 MiB has less than 9 MiB.
pub(crate) const ANSWER_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Maximum number of answers under construction.
pub(crate) const BUILT_AT_ONCE_MAX: usize = BUILDING_BYTES_MAX / ANSWER_BYTES_MAX;

const _: () = assert!(BUILT_AT_ONCE_MAX >= 2);

/// Runs a call whose answer can be large, and charges for its bytes.
pub(crate) async fn build(
    rules: &Arc<Rules>,
    method: &'static Method,
    call: BoxFuture<'static, MethodResponse>,
) -> Result<MethodResponse, Refused> {
    let (seated, caller) = (gate::seated(), gate::caller());
    let permit = rules.building.acquire(caller).await?;
    // Many calls may have been admitted before the first of them was charged.
    rules.solvent(caller)?;
    let (handle, charging) = (Handle::current(), Arc::clone(rules));
    let built = on_a_thread(move || {
        let response = handle.block_on(gate::on_behalf_of(seated, call));
        // Here, so that it is paid for even if the caller has disconnected.
        charging.charge_answer(caller, method, response.as_ref().len());
        (response, permit)
    });
    let (response, _permit) = built.await?;
    Ok(response)
}
