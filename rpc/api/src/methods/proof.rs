//! `proof_*`: answers that a client can verify with only the genesis file.

use jsonrpsee::proc_macros::rpc;

use crate::block_ref::BlockRef;
use crate::error::ApiError;
use crate::limits::PROOF_KEYS_MAX;
use crate::list::AtMost;
use crate::scalars::{AddressArg, BytesArg, HashArg};
use crate::views::{AccountProofView, AddressesArg, AtOptions, LightBlockView, ProofView, Verdict};

#[rpc(client, server, namespace = "proof")]
pub trait ProofApi {
    /// One account or up to 64, present or absent, with one proof for all.
    ///
    /// Errors: 1001, 1002, 1101, 1103 (`earliest` is the first provable height), 1402, 1601.
    #[method(name = "getAccount", param_kind = map)]
    async fn get_account(
        &self,
        address: AddressesArg,
        options: Option<AtOptions>,
    ) -> Result<AccountProofView, ApiError>;

    /// Up to 64 slots of one account, present or absent.
    ///
    /// Errors: 1000, 1001, 1002, 1101, 1103, 1402, 1601.
    #[method(name = "getStorage", param_kind = map)]
    async fn get_storage(
        &self,
        address: AddressArg,
        keys: AtMost<HashArg, PROOF_KEYS_MAX>,
        options: Option<AtOptions>,
    ) -> Result<ProofView, ApiError>;

    /// A transaction in its block, with its receipt; `null` when no block includes it.
    ///
    /// Errors: 1000, 1103.
    #[method(name = "getTransaction", param_kind = map)]
    async fn get_transaction(&self, hash: HashArg) -> Result<Option<ProofView>, ApiError>;

    /// The same as `proof_getTransaction`: a receipt proves nothing without its transaction.
    ///
    /// Errors: 1000, 1103.
    #[method(name = "getReceipt", param_kind = map)]
    async fn get_receipt(&self, hash: HashArg) -> Result<Option<ProofView>, ApiError>;

    /// Header, certificate and validators of a block, or `null`.
    ///
    /// Errors: 1002, 1103.
    #[method(name = "getLightBlock", param_kind = map)]
    async fn get_light_block(&self, block: Option<BlockRef>) -> Result<Option<LightBlockView>, ApiError>;

    /// Verifies a binary proof for this chain. A convenience: check offline to be sure.
    ///
    /// Errors: 1000.
    #[method(name = "verify", param_kind = map)]
    async fn verify(&self, proof: BytesArg) -> Result<Verdict, ApiError>;
}
