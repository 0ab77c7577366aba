//! Making of blocks.

use super::*;

impl MockBackend {
    /// Makes `count` blocks; the first takes every executable transaction from the pool.
    pub fn produce(&self, count: u64) {
        for _ in 0..count {
            self.produce_in(Round(0), &[]);
        }
    }

    /// Makes a block in a round; `silent` validators do not sign it.
    pub fn produce_in(&self, round: Round, silent: &[PublicKey]) {
        let mut inner = self.inner.write();
        let before = inner.states.last().unwrap().clone();
        let parent = Arc::clone(inner.blocks.last().unwrap());
        let height = parent.header.height.next().unwrap();
        let mut state = before.clone();
        let transactions = execute_pool(&inner, &mut state);
        let proposer = self.take_turn(&mut state, height, round);
        seal_storage(&mut state);
        let evidence = std::mem::take(&mut inner.evidence);
        let receipts = Receipts(
            transactions
                .iter()
                .map(|transaction| receipt(transaction))
                .collect(),
        );
        let ticks = self.ticks(&parent, height, (round, proposer), &transactions);
        let roots: Vec<Hash> = ticks.iter().map(|tick| tick_root(&leaves(tick))).collect();
        let body = Body::V1(BodyV1 {
            ticks,
            last_commit: parent.certificate.clone(),
            evidence,
        });
        let params = &self.facts.params;
        let header = Header {
            height,
            round,
            proposer,
            evidence_root: body.evidence_root(),
            parent: parent.hash,
            time: TimeMs(parent.header.time.0 + 100),
            ticks: params.ticks_per_block,
            poh_seq: parent.header.poh_seq
                + u64::from(params.ticks_per_block) * u64::from(params.hashes_per_tick),
            poh_hash: body.v1().ticks.last().unwrap().hash,
            body_hash: body.hash(),
            tx_root: merkle::root(&roots),
            receipt_root: receipts.root(),
            state_root: build(&state).0.root(),
            last_commit_hash: parent
                .certificate
                .as_ref()
                .map_or(Hash::ZERO, CommitCertificate::hash),
            ..empty_header(&self.facts)
        };
        let hash = header.hash();
        for (transaction, index) in transactions.iter().zip(0u32..) {
            inner.pool.remove(transaction.id());
            inner.places.insert(*transaction.id(), (height, index));
        }
        inner
            .diffs
            .push(Arc::new(diff(&parent.header, &header, &before, &state)));
        inner.states.push(state);
        let certificate = Some(self.certify(&header, hash, silent));
        let head = Head {
            header: header.clone(),
            hash,
            transactions: transactions.len() as u32,
        };
        inner.blocks.push(Arc::new(CommittedBlock {
            header,
            hash,
            body,
            receipts,
            certificate,
        }));
        *self.head.write() = Arc::new(head);
        drop(inner);
        self.heads.send_replace(height);
    }

    /// The proposer of a round; the state's schedule goes on behind its turn.
    fn take_turn(&self, state: &mut State, height: Height, round: Round) -> PublicKey {
        let set = &self.facts.validators;
        let system = state.slots.entry(Address::system()).or_default();
        let schedule: ProposerSchedule = decode(&system[&records::SCHEDULE]).unwrap();
        let proposer = schedule.proposer(set, height, round).unwrap().key;
        system.insert(records::SCHEDULE, encode(&schedule.after(set, height, round)));
        proposer
    }

    /// All transactions in the first tick.
    fn ticks(
        &self,
        parent: &CommittedBlock,
        height: Height,
        (round, proposer): (Round, PublicKey),
        transactions: &[Arc<VerifiedTransaction>],
    ) -> Vec<Tick> {
        let params = &self.facts.params;
        let pace = Pace::new(
            u64::from(params.hashes_per_tick),
            u64::from(params.ticks_per_block),
        )
        .unwrap();
        let seed = vibecoin_poh::seed(parent.hash, height.0, round.0, &proposer.0);
        let mut chain = Chain::new(pace, seed);
        let mut list: Vec<Transaction> = transactions.iter().map(|t| t.transaction().clone()).collect();
        (0..params.ticks_per_block)
            .map(|_| {
                let mut tick = Tick {
                    hash: Hash::ZERO,
                    transactions: std::mem::take(&mut list),
                };
                tick.hash = chain
                    .finish_tick(vibecoin_poh::mixin(&leaves(&tick)))
                    .unwrap()
                    .hash;
                tick
            })
            .collect()
    }

    fn certify(&self, header: &Header, hash: Hash, silent: &[PublicKey]) -> CommitCertificate {
        let (height, round) = (header.height, header.round);
        let sign = |key: &SecretKey| {
            let validator = key.public_key();
            let vote = Vote {
                kind: VoteKind::Precommit,
                height,
                round,
                block: Some(hash),
                validator,
            };
            let signature = vote.sign(&self.facts.genesis, key).signature;
            CommitSignature { validator, signature }
        };
        let mut signatures: Vec<CommitSignature> = self.keys.iter().map(sign).collect();
        signatures.retain(|entry| !silent.contains(&entry.validator));
        signatures.sort_by_key(|entry| entry.validator);
        CommitCertificate {
            height,
            round,
            block: hash,
            signatures,
        }
    }
}

/// Executes every transaction of the pool that is next for its sender, and returns these.
fn execute_pool(inner: &Inner, state: &mut State) -> Vec<Arc<VerifiedTransaction>> {
    let mut transactions: Vec<Arc<VerifiedTransaction>> = inner.pool.values().cloned().collect();
    transactions.sort_by_key(|transaction| (transaction.sender(), transaction.body().nonce));
    transactions.retain(|transaction| {
        let next = state
            .accounts
            .get(&transaction.sender())
            .copied()
            .unwrap_or_default()
            .nonce;
        let runs = transaction.body().nonce == next;
        if runs {
            execute(state, transaction);
        }
        runs
    });
    transactions
}
