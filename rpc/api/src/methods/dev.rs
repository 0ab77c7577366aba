//! `dev_*`: only on chains whose genesis has `dev` set.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::scalars::{AddressArg, U64};
use crate::views::StatusView;

#[rpc(client, server, namespace = "dev")]
pub trait DevApi {
    /// Sends `amount` base units from the faucet.
    ///
    /// Errors: 1001, 1203, 1305.
    #[method(name = "faucet", param_kind = map)]
    async fn faucet(&self, address: AddressArg, amount: U64) -> Result<StatusView, ApiError>;
}
