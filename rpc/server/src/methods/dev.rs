//! `dev_*`: served only when genesis has `dev` set.

use jsonrpsee::core::async_trait;
use vibecoin_rpc_api::methods::{DevApiServer, TxApiServer};
use vibecoin_rpc_api::views::StatusView;
use vibecoin_rpc_api::{AddressArg, ApiError, U64};
use vibecoin_rpc_backend::Backend;

use super::Rpc;

#[async_trait]
impl<B: Backend> DevApiServer for Rpc<B> {
    async fn faucet(&self, address: AddressArg, amount: U64) -> Result<StatusView, ApiError> {
        let address = self.address(address)?;
        let given = self.backend.faucet(address, amount.into()).await;
        let id = given.map_err(|refusal| self.refused(refusal))?;
        TxApiServer::get_status(self, id.into()).await
    }
}
