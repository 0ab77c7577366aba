//! [`Backend`] of the mock.

use super::*;

impl Backend for MockBackend {
    fn facts(&self) -> &ChainFacts {
        &self.facts
    }

    fn head(&self) -> Arc<Head> {
        Arc::clone(&self.head.read())
    }

    fn head_watch(&self) -> watch::Receiver<Height> {
        self.heads.subscribe()
    }

    fn earliest(&self) -> Height {
        Height(self.earliest.load(Ordering::SeqCst))
    }

    fn header(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError> {
        Ok(self
            .block(height)?
            .map(|block| (block.header.clone(), block.hash)))
    }

    fn height_of(&self, block: &Hash) -> Result<Option<Height>, BackendError> {
        Ok(self
            .inner
            .read()
            .blocks
            .iter()
            .find(|found| found.hash == *block)
            .map(|found| found.header.height))
    }

    fn block(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError> {
        self.blocks_gate.pass();
        self.kept(height)?;
        Ok(self.inner.read().blocks.get(height.0 as usize).cloned())
    }

    fn count(&self, height: Height) -> Result<Option<(Header, u32)>, BackendError> {
        self.kept(height)?;
        let inner = self.inner.read();
        let block = inner.blocks.get(height.0 as usize);
        Ok(block.map(|block| (block.header.clone(), block.receipts.0.len() as u32)))
    }

    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError> {
        Ok(self.block(height)?.and_then(|block| block.certificate.clone()))
    }

    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError> {
        self.diffs_gate.pass();
        self.kept(height)?;
        Ok(self.inner.read().diffs.get(height.0 as usize).cloned())
    }

    fn accounts(
        &self,
        at: Option<Height>,
        addresses: &[Address],
    ) -> Result<Read<Vec<Option<Account>>>, BackendError> {
        self.read(at, |state| {
            addresses
                .iter()
                .map(|address| state.accounts.get(address).copied())
                .collect()
        })
    }

    fn slots(
        &self,
        at: Option<Height>,
        address: &Address,
        slots: &[Hash],
    ) -> Result<Read<Vec<Option<Vec<u8>>>>, BackendError> {
        self.read(at, |state| {
            let own = state.slots.get(address);
            slots
                .iter()
                .map(|slot| own.and_then(|own| own.get(slot)).cloned())
                .collect()
        })
    }

    fn list_accounts(
        &self,
        at: Option<Height>,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Read<Vec<(Address, Account)>>, BackendError> {
        self.read(at, |state| {
            let mut rows: Vec<(Hash, Address, Account)> = state
                .accounts
                .iter()
                .map(|(address, account)| (account_key(address), *address, *account))
                .collect();
            rows.sort_by_key(|(key, _, _)| *key);
            let rows = rows
                .into_iter()
                .filter(|(key, _, _)| after.is_none_or(|after| *key > after));
            rows.take(limit)
                .map(|(_, address, account)| (address, account))
                .collect()
        })
    }

    fn prove(&self, at: Option<Height>, keys: &[(Address, Vec<Hash>)]) -> Result<StateProofs, BackendError> {
        let inner = self.inner.read();
        let height = self.at(&inner, at)?;
        let state = &inner.states[height.0 as usize];
        let (trie, memory) = build(state);
        let prove = |(address, slots): &(Address, Vec<Hash>)| {
            let row = state.accounts.get(address).map(encode);
            let account = trie
                .prove(&account_key(address), row.as_deref(), &memory)
                .unwrap();
            let slots = state.slots.get(address).map_or_else(Vec::new, |own| {
                let mut memory = MemoryState::default();
                let storage = Trie::storage(account_key(address), Hash::ZERO);
                let storage = insert(&mut memory, &storage, slot_rows(own));
                let value = |slot: &Hash| own.get(slot).map(Vec::as_slice);
                slots
                    .iter()
                    .map(|slot| storage.prove(&slot_key(slot), value(slot), &memory).unwrap())
                    .collect()
            });
            AccountProof { account, slots }
        };
        let block = &inner.blocks[height.0 as usize];
        Ok(StateProofs {
            header: block.header.clone(),
            certificate: block.certificate.clone(),
            accounts: keys.iter().map(prove).collect(),
        })
    }

    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError> {
        self.status_calls.fetch_add(1, Ordering::SeqCst);
        let inner = self.inner.read();
        if let Some((height, index)) = inner.places.get(id) {
            let outcome = Outcome::Success;
            return Ok(TransactionStatus::Included {
                height: *height,
                index: *index,
                outcome,
            });
        }
        if let Some(by) = inner.replaced.get(id) {
            let newer = std::iter::successors(Some(by), |by| inner.replaced.get(by.id())).take(4);
            let included = newer.map(|by| *by.id()).find(|by| inner.places.contains_key(by));
            let (by, valid_until) = (*by.id(), by.body().valid_until);
            return Ok(match included {
                Some(by) => TransactionStatus::Replaced { by },
                None => TransactionStatus::Departed {
                    by: Some(by),
                    reason: format!("replaced by {by}"),
                    valid_until,
                },
            });
        }
        Ok(inner
            .pool
            .get(id)
            .map_or(TransactionStatus::Unknown, |transaction| {
                match Self::gap_below(&inner, transaction) {
                    Some(expected) => TransactionStatus::Queued { expected },
                    None => TransactionStatus::Pending,
                }
            }))
    }

    fn pooled(&self, id: &Hash) -> Option<PoolEntry> {
        let inner = self.inner.read();
        inner
            .pool
            .get(id)
            .map(|transaction| Self::entry(&inner, transaction))
    }

    fn in_pool(&self, id: &Hash) -> bool {
        self.inner.read().pool.contains_key(id)
    }

    async fn submit(&self, _: Caller, transactions: Vec<Transaction>) -> Vec<Result<Admitted, Refusal>> {
        let verdicts = transactions
            .into_iter()
            .map(|transaction| self.admit(transaction))
            .collect();
        if self.instant.load(Ordering::SeqCst) {
            self.produce(1);
        }
        verdicts
    }

    fn pool_status(&self) -> PoolStatus {
        let inner = self.inner.read();
        let queued = inner
            .pool
            .values()
            .filter(|t| Self::gap_below(&inner, t).is_some())
            .count() as u64;
        let count = inner.pool.len() as u64;
        PoolStatus {
            count,
            bytes: inner
                .pool
                .values()
                .map(|transaction| u64::from(transaction.byte_len()))
                .sum(),
            pending: count - queued,
            queued,
            oldest: None,
            fee_min: self.facts.params.fee_min,
            count_max: 1000,
            bytes_max: 1 << 20,
            per_sender_max: 64,
        }
    }

    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry> {
        let inner = self.inner.read();
        let own = inner
            .pool
            .values()
            .filter(|t| sender.is_none_or(|sender| t.sender() == *sender));
        let own = own.filter(|t| after.is_none_or(|after| t.id() > after));
        own.take(limit)
            .map(|transaction| Self::entry(&inner, transaction))
            .collect()
    }

    fn pool_account(&self, address: &Address) -> PoolAccount {
        let mut entries = self.pool_list(Some(address), None, usize::MAX);
        entries.sort_by_key(|entry| entry.transaction.body().nonce);
        let last = entries.iter().rfind(|entry| !entry.queued);
        PoolAccount {
            next_nonce: last.and_then(|entry| entry.transaction.body().nonce.next()),
            entries,
        }
    }

    fn poh_status(&self) -> PohStatus {
        let head = self.head();
        PohStatus {
            height: head.header.height.next().unwrap(),
            hash: head.header.poh_hash,
            drift_ms: 7,
            ..PohStatus::default()
        }
    }

    fn consensus_status(&self) -> ConsensusStatus {
        ConsensusStatus {
            height: self.head().header.height.next().unwrap(),
            step: "idle",
            validator: Some(self.keys[0].public_key()),
            ..ConsensusStatus::default()
        }
    }

    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        let inner = self.inner.read();
        inner.rounds.iter().find(|seen| seen.height == height).cloned()
    }

    fn evidence_waiting(&self) -> Vec<Evidence> {
        self.inner.read().evidence.clone()
    }

    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        self.hold_evidence(evidence);
        Ok(())
    }

    fn network(&self) -> Option<Arc<dyn PeersView>> {
        Some(Arc::clone(&self.network) as Arc<dyn PeersView>)
    }

    fn snapshots(&self) -> Option<Arc<dyn SnapshotMaker>> {
        Some(Arc::clone(&self.snapshots) as Arc<dyn SnapshotMaker>)
    }

    fn node_status(&self) -> NodeStatus {
        NodeStatus {
            moniker: "mock".to_owned(),
            role: "dev".to_owned(),
            sync: SyncStatus {
                synced: true,
                stage: "synced".to_owned(),
                target: self.head().header.height,
                ..SyncStatus::default()
            },
            ..NodeStatus::default()
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn health(&self) -> Vec<HealthCheck> {
        let ok = self.ready.load(Ordering::SeqCst);
        vec![HealthCheck {
            name: "database",
            ok,
            detail: "as the test says".to_owned(),
        }]
    }

    async fn faucet(&self, to: Address, amount: Amount) -> Result<Hash, Refusal> {
        let giver = ACCOUNTS - 2;
        let nonce = self
            .read(None, |state| state.accounts[&Self::address(giver)].nonce)?
            .value;
        let verdicts = self
            .submit(Caller::NODE, vec![self.transfer(giver, nonce.0, to, amount.0)])
            .await;
        verdicts.into_iter().next().unwrap().map(|admitted| admitted.id)
    }
}
