//! Phases from the first start over storm and outage to the calm, and the final checks.

use super::*;

impl World {
    pub(super) fn start_all(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            let after = self.rng.below(50_000);
            self.later(after, Happening::Start { node });
        }
        self.later(1, Happening::Submit);
        for (mean, happening) in [
            (self.faults.crash_every, Happening::Crash),
            (self.faults.partition_every, Happening::Cut),
        ] {
            if mean > 0 {
                let after = self.rng.wait(mean);
                self.later(after, happening);
            }
        }
        Ok(())
    }

    pub(super) fn storm(&mut self) -> Result<(), Violation> {
        self.trace.note(0, format_args!("storm: {:?}", self.storm));
        while self.model.height().0 < self.config.heights && self.now < STORM_MICROS_MAX {
            self.advance()?;
        }
        Ok(())
    }

    /// Faults off, but some nodes are down for long: the others continue, if they are a quorum.
    pub(super) fn outage(&mut self) -> Result<(), Violation> {
        if self.config.outage == 0 {
            return Ok(());
        }
        self.quiet();
        self.start_everybody()?;
        let (dead, power, goes_on) = loop {
            let mut dead = BTreeSet::new();
            while dead.len() < self.config.outage {
                dead.insert(self.rng.index(self.nodes.len()));
            }
            let power = self.power_without(&dead);
            let total = self.chain.validators.total_power();
            let goes_on = is_quorum(self.config.fault_model, power, total);
            // A run about a quorum that loses messages needs one: of four, one has less than a third.
            if goes_on || self.config.outage_loss == 0 {
                break (dead, power, goes_on);
            }
        };
        self.dead.clone_from(&dead);
        for node in &dead {
            self.crash(*node);
        }
        let alive: Vec<usize> = (0..self.nodes.len())
            .filter(|node| !dead.contains(node))
            .collect();
        let before = self.model.height();
        self.trace.note(
            self.now,
            format_args!("outage of {dead:?}: power {power} is left, a quorum: {goes_on}"),
        );
        if goes_on {
            self.faults.loss = self.config.outage_loss;
            let heights = self.config.absence[0].max(CALM_HEIGHTS);
            self.reach(&alive, Height(before.0 + heights))?;
            self.faults.loss = 0;
        } else {
            let until = self.now + STOP_MICROS;
            while self.now < until {
                self.advance()?;
            }
            // One height may have been decided already, its votes being on their way.
            if self.model.height().0 > before.0 + 1 {
                let detail = format!("{before} became {} without a quorum", self.model.height());
                return Err(self.violation(alive.first().copied().unwrap_or(0), (Rule::CleanStop, detail)));
            }
        }
        self.report.outage_heights = self.model.height().0 - before.0;
        self.dead.clear();
        Ok(())
    }

    /// The voting power of all nodes but these.
    fn power_without(&self, dead: &BTreeSet<usize>) -> u64 {
        let members = self.chain.validators.members().iter();
        let nodes = || self.nodes.iter().enumerate();
        let left = members.filter(|member| {
            nodes().any(|(index, node)| !dead.contains(&index) && node.public == member.key)
        });
        left.map(|member| member.power.0).sum()
    }

    fn quiet(&mut self) {
        self.faults = self.storm.calm();
        self.calm = true;
        self.apart.clear();
        if let Some(byzantine) = &mut self.byzantine {
            byzantine.open = true;
        }
        self.look_at_links();
    }

    fn start_everybody(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            if let Some(running) = &mut self.nodes[node].running {
                running.dies_after = None;
            } else if self.nodes[node].halted.is_none() {
                self.start(node)?;
            }
        }
        Ok(())
    }

    /// Runs until each of these nodes, if it follows the rules, has stored a height.
    fn reach(&mut self, nodes: &[usize], target: Height) -> Result<(), Violation> {
        let heights = target.0.saturating_sub(self.model.height().0);
        let until = self.now + CALM_MICROS + heights * HEIGHT_MICROS;
        self.decided_at = self.now;
        while let Some(slow) = nodes.iter().copied().find(|index| {
            let node = &self.nodes[*index];
            !self.config.lies(*index) && node.halted.is_none() && node.acked.0 < target
        }) {
            if self.now > until {
                let node = &self.nodes[slow];
                let status = node
                    .running
                    .as_ref()
                    .map(|running| running.replica.orderer().status());
                let detail = format!("height {} instead of {target}: {status:?}", node.acked.0);
                return Err(self.violation(slow, (Rule::Liveness, detail)));
            }
            let gap = self.now - self.decided_at;
            if self.config.outage_loss > 0 && !self.dead.is_empty() && gap > GAP_MICROS {
                let detail = format!("no block after {} for {gap} µs", self.model.height());
                return Err(self.violation(slow, (Rule::Liveness, detail)));
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Faults off, every node up: the chain continues, and every node follows. Byzantine nodes
    /// remain so.
    pub(super) fn calm(&mut self) -> Result<(), Violation> {
        self.quiet();
        let heights = self.config.absence[1].max(CALM_HEIGHTS);
        let target = Height(self.model.height().0 + heights);
        self.trace.note(
            self.now,
            format_args!("calm: everybody must reach height {target}"),
        );
        let far_behind = |node: &&Node| node.acked.0.saturating_add(FUTURE_HEIGHTS + 1) < self.model.height();
        self.report.far_behind = self.nodes.iter().filter(far_behind).count() as u64;
        self.start_everybody()?;
        self.probe()?;
        let everybody: Vec<usize> = (0..self.nodes.len()).collect();
        self.reach(&everybody, target)?;
        let until = self.now + PROBE_MICROS;
        while self.model.nonce(&Traffic::prober()) < PROBES {
            if self.now > until {
                let detail = format!(
                    "{} of {PROBES} good transactions are in blocks",
                    self.model.nonce(&Traffic::prober())
                );
                return Err(self.violation(SABOTEUR, (Rule::Inclusion, detail)));
            }
            self.advance()?;
        }
        self.keep_pace()?;
        self.await_evidence()
    }

    /// Once faults are off, a proposer that stretches its turns makes no height longer than one wait for a
    /// proposal may be, and the waits for votes of the round that fails.
    fn keep_pace(&mut self) -> Result<(), Violation> {
        if self.config.behaviour != Behaviour::Stretches {
            return Ok(());
        }
        let params = &self.chain.params;
        let millis = [
            params.empty_block_interval_ms,
            params.timeout_propose_ms,
            params.timeout_propose_ms / 2,
            params.timeout_prevote_ms,
            params.timeout_precommit_ms,
        ];
        let millis: u64 = millis.into_iter().map(u64::from).sum();
        // The slowest clock is three hundredths too slow.
        let longest = (millis * 1000 + PACE_SLACK_MICROS) * 104 / 100;
        // A node that still catches up does not vote.
        let height = self.model.height();
        let everybody: Vec<usize> = (0..self.nodes.len()).collect();
        self.reach(&everybody, height)?;
        let last = self.model.height().0 + PACE_HEIGHTS;
        self.decided_at = self.now;
        while self.model.height().0 < last {
            let took = self.now - self.decided_at;
            self.report.slowest = self.report.slowest.max(took);
            if took > longest {
                let detail = format!(
                    "no block after {} for {took} µs, longer than any round may be stretched",
                    self.model.height()
                );
                return Err(self.violation(SABOTEUR, (Rule::Pace, detail)));
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Once faults are off, a double signature is included in a block. The time counts from the next one:
    /// a Byzantine node that is being passed over has to wait for its turn first.
    fn await_evidence(&mut self) -> Result<(), Violation> {
        let before = self.observer.contradictions;
        let last = self.model.height().0 + 2 * u64::from(PENALTY_MAX);
        let mut until = None;
        while self.config.behaviour.is_evident()
            && self.nodes[SABOTEUR].halted.is_none()
            && self.model.evidence.is_empty()
        {
            if until.is_none() && self.observer.contradictions > before {
                until = Some(self.now + EVIDENCE_MICROS);
            }
            let late = until.is_some_and(|until| self.now > until);
            if late || self.model.height().0 > last {
                let detail = if late {
                    "somebody signs everything twice, and no block says so"
                } else {
                    "a liar never gets a turn again"
                };
                return Err(self.violation(SABOTEUR, (Rule::Evidence, detail.to_owned())));
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Hands valid transactions to every node, once: a pool that has them must not lose them.
    fn probe(&mut self) -> Result<(), Violation> {
        let probes: Vec<Transaction> = (0..PROBES).map(|nonce| self.traffic.probe(nonce)).collect();
        for node in 0..self.nodes.len() {
            self.take_transactions(node, probes.clone())?;
        }
        Ok(())
    }

    /// Checks that every remaining node has the same chain, on disk too.
    pub(super) fn finish(mut self) -> Result<Report, Violation> {
        for index in 0..self.nodes.len() {
            if self.nodes[index].halted.is_none() {
                // The checks of a start are those of the node.
                let _bug = Planted::new(self.config.bug);
                self.check_chain(index)
                    .map_err(|fault| self.violation(index, fault))?;
            }
        }
        if let Some(byzantine) = &self.byzantine {
            self.report.lies = byzantine.changed;
            self.report.stretched = byzantine.stalled;
        }
        self.report.trace = self.trace.hash();
        self.report.heights = self.model.height().0;
        self.report.micros = self.now;
        self.report.transactions = self
            .model
            .iter()
            .map(|(_, decided)| decided.ids.len() as u64)
            .sum();
        self.report.evidence = self.model.evidence.len() as u64;
        for (_, decided) in self.model.iter() {
            self.report.late_rounds += u64::from(decided.block.header.round.0 > 0);
            let failed = decided
                .receipts
                .0
                .iter()
                .filter(|r| r.v1().outcome != vibecoin_primitives::Outcome::Success);
            self.report.failed += failed.count() as u64;
        }
        Ok(self.report)
    }

    fn check_chain(&mut self, index: usize) -> Result<(), Fault> {
        self.count(index);
        let node = &mut self.nodes[index];
        node.running = None;
        node.disk.crash(&mut self.rng, true);
        let fail = |error: StorageError| (Rule::Recovery, error.to_string());
        let opened = node.disk.open(&self.chain, node.public, self.store);
        let (store, _) = opened.map_err(|error| (Rule::Recovery, error.to_string()))?;
        let head = store.head().height;
        if head < node.acked.0 {
            return Err((
                Rule::MonotonicHead,
                format!("ends at {head}, acknowledged was {}", node.acked.0),
            ));
        }
        for (height, decided) in self.model.iter().take_while(|(height, _)| *height <= head) {
            let differs = |what: &str| {
                Err((
                    Rule::NoLoss,
                    format!("{what} of {height} differ from what was decided"),
                ))
            };
            if store.reader().block(height).map_err(fail)?.as_ref() != Some(&decided.block) {
                return differs("header or body");
            }
            if store.reader().receipts(height).map_err(fail)?.as_ref() != Some(&decided.receipts) {
                return differs("receipts");
            }
            if store.reader().state_root(height).map_err(fail)? != Some(decided.block.header.state_root) {
                return differs("state roots");
            }
            for (index, id) in decided.ids.iter().enumerate() {
                let place = store.place(id).map_err(fail)?;
                if place.map(|place| (place.height, place.index as usize)) != Some((height, index)) {
                    return Err((
                        Rule::NoLoss,
                        format!("transaction {id} of {height} is found at {place:?}"),
                    ));
                }
            }
        }
        let newest = self
            .model
            .at(head)
            .map_or(Hash::ZERO, |decided| decided.block.header.state_root);
        if head > Height(0) && store.view().root() != newest {
            return Err((
                Rule::Validity,
                format!(
                    "the state has root {}, block {head} says {newest}",
                    store.view().root()
                ),
            ));
        }
        Ok(())
    }

    // ---- events -------------------------------------------------------------------------------------
}
