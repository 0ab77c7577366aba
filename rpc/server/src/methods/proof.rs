//! `proof_*`.

use jsonrpsee::core::async_trait;
use vibecoin_light::{Claim, ProofFile, Trust};
use vibecoin_primitives::{Account, Address, CommitCertificate, Hash, Header, Height};
use vibecoin_rpc_api::limits::PROOF_KEYS_MAX;
use vibecoin_rpc_api::methods::ProofApiServer;
use vibecoin_rpc_api::views::{
    AccountProofView, AccountView, AddressesArg, AtOptions, CertificateView, HeaderView, LightBlockView,
    LocationView, ProofView, ProvenAccountView, ProvenSlotView, ReceiptView, SlotView, TransactionView,
    ValidatorView, Verdict,
};
use vibecoin_rpc_api::{
    AddressArg, AddressText, ApiError, AtMost, BlockRef, Bytes, BytesArg, Code, HashArg, Shown,
};
use vibecoin_rpc_backend::Backend;

use super::Rpc;
use crate::errors::Coded as _;

#[async_trait]
impl<B: Backend> ProofApiServer for Rpc<B> {
    async fn get_account(
        &self,
        address: AddressesArg,
        options: Option<AtOptions>,
    ) -> Result<AccountProofView, ApiError> {
        let addresses = address.get()?;
        if addresses.is_empty() {
            return Err(
                ApiError::invalid_params("nothing_to_prove", "name at least one address")
                    .with("parameter", "address"),
            );
        }
        let addresses: Vec<Address> = addresses
            .into_iter()
            .map(|address| self.address(address))
            .collect::<Result<_, _>>()?;
        let at = self.state_at(options.unwrap_or_default().at)?;
        self.prove_accounts(at, &addresses)
    }

    async fn get_storage(
        &self,
        address: AddressArg,
        keys: AtMost<HashArg, PROOF_KEYS_MAX>,
        options: Option<AtOptions>,
    ) -> Result<ProofView, ApiError> {
        let keys = keys.get("keys")?;
        if keys.is_empty() {
            return Err(
                ApiError::invalid_params("nothing_to_prove", "name at least one key")
                    .with("parameter", "keys"),
            );
        }
        let address = self.address(address)?;
        let slots: Vec<Hash> = keys.into_iter().map(HashArg::get).collect::<Result<_, _>>()?;
        let at = self.state_at(options.unwrap_or_default().at)?;
        self.prove_slots(at, address, slots)
    }

    async fn get_transaction(&self, hash: HashArg) -> Result<Option<ProofView>, ApiError> {
        let hash = hash.get()?;
        self.prove_transaction(&hash)
    }

    async fn get_receipt(&self, hash: HashArg) -> Result<Option<ProofView>, ApiError> {
        let hash = hash.get()?;
        self.prove_transaction(&hash)
    }

    async fn get_light_block(&self, block: Option<BlockRef>) -> Result<Option<LightBlockView>, ApiError> {
        let Some(height) = self.height(block)? else {
            return Ok(None);
        };
        let Some((header, hash)) = self.backend.header(height).coded()? else {
            return Ok(None);
        };
        let certificate = self.backend.certificate(height).coded()?;
        let validators = &self.backend.facts().validators;
        let prefix = self.prefix();
        Ok(Some(LightBlockView {
            header: HeaderView::new(&header, hash),
            certificate: certificate.as_ref().map(CertificateView::from),
            validators: validators
                .members()
                .iter()
                .map(|v| ValidatorView::new(v, prefix))
                .collect(),
            proof: self.proof(header, certificate, Vec::new()),
        }))
    }

    async fn verify(&self, proof: BytesArg) -> Result<Verdict, ApiError> {
        let bytes = proof.get()?.0;
        self.expensive(move |rpc| {
            let verdict = ProofFile::from_bytes(&bytes).and_then(|file| rpc.check(&file));
            Ok(Verdict {
                valid: verdict.is_ok(),
                reason: verdict.err().map(|error| error.to_string()),
            })
        })
        .await
    }
}

impl<B: Backend> Rpc<B> {
    fn proof(
        &self,
        header: Header,
        certificate: Option<CommitCertificate>,
        claims: Vec<Claim>,
    ) -> Shown<Bytes> {
        let facts = self.backend.facts();
        let model = facts.params.fault_model;
        let file = ProofFile::new(
            facts.genesis,
            model,
            header,
            certificate,
            facts.validators.clone(),
            claims,
        );
        Shown(Bytes(file.to_bytes()))
    }

    fn check(&self, file: &ProofFile) -> Result<(), vibecoin_light::LightError> {
        let facts = self.backend.facts();
        let trust = Trust::new(facts.genesis, &facts.params, facts.validators.clone());
        // A file that lost its claims proves nothing that was requested, though its block may be valid.
        vibecoin_light::verify(&trust, file).map(|_| ())
    }

    fn prove_accounts(
        &self,
        at: Option<Height>,
        addresses: &[Address],
    ) -> Result<AccountProofView, ApiError> {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        let keys: Vec<(Address, Vec<Hash>)> =
            addresses.iter().map(|address| (*address, Vec::new())).collect();
        let proofs = self.backend.prove(at, &keys).coded()?;
        let prefix = self.prefix();
        let mut accounts = Vec::with_capacity(addresses.len());
        let mut claims = Vec::with_capacity(addresses.len());
        for (address, proof) in addresses.iter().zip(&proofs.accounts) {
            let account = claimed_account(proof.account.claimed_value())?;
            accounts.push(ProvenAccountView {
                address: Shown(AddressText::new(*address, prefix)),
                value: account.map(|account| AccountView::new(*address, &account, prefix)),
            });
            claims.push(Claim::Account {
                address: *address,
                proof: proof.account.encode(),
            });
        }
        Ok(AccountProofView {
            header: HeaderView::new(&proofs.header, proofs.header.hash()),
            certificate: proofs.certificate.as_ref().map(CertificateView::from),
            accounts,
            proof: self.proof(proofs.header, proofs.certificate, claims),
        })
    }

    fn prove_slots(
        &self,
        at: Option<Height>,
        address: Address,
        mut slots: Vec<Hash>,
    ) -> Result<ProofView, ApiError> {
        slots.sort_unstable();
        slots.dedup();
        let proofs = self.backend.prove(at, &[(address, slots.clone())]).coded()?;
        let proof = proofs.accounts.first().ok_or_else(unavailable)?;
        let account = proof.account.encode();
        let mut claims = Vec::with_capacity(slots.len());
        let mut views = Vec::with_capacity(slots.len());
        for (index, slot) in slots.into_iter().enumerate() {
            let in_storage = proof.slots.get(index);
            let value = in_storage.and_then(|proof| proof.claimed_value());
            views.push(ProvenSlotView {
                address: Shown(AddressText::new(address, self.prefix())),
                slot: SlotView {
                    slot: Shown(slot),
                    value: value.map(|bytes| Shown(Bytes(bytes.to_vec()))),
                },
            });
            claims.push(Claim::Slot {
                address,
                slot,
                account: account.clone(),
                proof: in_storage.map(vibecoin_trie::Proof::encode),
            });
        }
        Ok(ProofView {
            header: HeaderView::new(&proofs.header, proofs.header.hash()),
            certificate: proofs.certificate.as_ref().map(CertificateView::from),
            slots: views,
            transaction: None,
            receipt: None,
            proof: self.proof(proofs.header, proofs.certificate, claims),
        })
    }

    fn prove_transaction(&self, hash: &Hash) -> Result<Option<ProofView>, ApiError> {
        let Some((block, index)) = self.included(hash)? else {
            return Ok(None);
        };
        let position = usize::try_from(index).map_err(|_| unavailable())?;
        let claim = Claim::transaction(&block.body, &block.receipts, position).ok_or_else(unavailable)?;
        let Claim::Transaction(place) = &claim else {
            return Err(unavailable());
        };
        let location = LocationView {
            height: block.header.height.into(),
            block_hash: Shown(block.hash),
            index,
        };
        let transaction = TransactionView::new(&place.transaction, *hash, self.prefix(), Some(location));
        let receipt = ReceiptView::new(&place.receipt, block.header.height, index);
        Ok(Some(ProofView {
            header: HeaderView::new(&block.header, block.hash),
            certificate: block.certificate.as_ref().map(CertificateView::from),
            slots: Vec::new(),
            transaction: Some(transaction),
            receipt: Some(receipt),
            proof: self.proof(block.header.clone(), block.certificate.clone(), vec![claim]),
        }))
    }
}

/// Decodes the claim of a proof made here. A client decodes it after verification; see
/// `vibecoin-light`.
fn claimed_account(value: Option<&[u8]>) -> Result<Option<Account>, ApiError> {
    let fact = value.map(vibecoin_primitives::decode::<Account>).transpose();
    fact.map_err(|error| ApiError::internal(format!("an account in the trie is malformed: {error}")))
}

fn unavailable() -> ApiError {
    ApiError::new(Code::ProofUnavailable, "the proof cannot be made")
}
