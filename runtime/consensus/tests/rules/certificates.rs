//! Certificates of rounds, and meaningless messages.

use super::*;

#[test]
fn parameters_that_contradict_each_other_are_a_halt_not_a_panic() {
    let mut bench = Bench::new(4, 3);
    let mut params = bench.params(1);
    params.schedule = ProposerSchedule::default();
    bench.orderer.start_height(params, T0);
    let outputs = bench.drain();
    assert!(matches!(
        halted(&outputs),
        Some(HaltReason::BadHeightParams { .. })
    ));
}

#[test]
fn a_certificate_moves_the_round_only_when_everything_in_it_is_right() {
    let mut bench = Bench::started(4, 3);
    let votes = |bench: &Bench, kind, n: usize| -> Vec<RoundVote> {
        let others = bench.others();
        let mut votes: Vec<RoundVote> = others
            .iter()
            .take(n)
            .map(|key| RoundVote {
                kind,
                block: None,
                validator: key.public_key(),
                signature: vote(key, kind, 1, 5, None).signature,
            })
            .collect();
        votes.sort_by_key(|vote| vote.validator);
        votes
    };
    let certificate = |kind, votes| {
        ConsensusMessage::Round(RoundCertificate {
            height: Height(1),
            round: Round(5),
            kind,
            votes,
        })
    };
    let (skip, precommit) = (RoundCertificateKind::Skip, RoundCertificateKind::Precommit);
    let mut forged = votes(&bench, VoteKind::Prevote, 3);
    forged[0].block = Some(Hash([1; 32]));
    let mut reversed = votes(&bench, VoteKind::Prevote, 3);
    reversed.reverse();
    for wrong in [
        certificate(skip, votes(&bench, VoteKind::Prevote, 0)),
        certificate(skip, votes(&bench, VoteKind::Prevote, 1)),
        certificate(skip, forged),
        certificate(skip, reversed),
        certificate(precommit, votes(&bench, VoteKind::Prevote, 3)),
        certificate(precommit, votes(&bench, VoteKind::Precommit, 2)),
    ] {
        let (verdict, outputs) = bench.give(wrong.clone());
        assert!(matches!(verdict, Verdict::Rejected(_)), "{wrong:?}");
        assert_eq!(outputs, vec![]);
    }
    assert_eq!(bench.orderer.status().round, Round(0));
    let good = certificate(skip, votes(&bench, VoteKind::Prevote, 2));
    assert_eq!(bench.give(good.clone()).0, Verdict::Fresh);
    assert_eq!(bench.orderer.status().round, Round(5));
    assert_eq!(bench.give(good).0, Verdict::Known);
}

/// A skip certificate of round `round` from these votes of two validators.
fn skip(round: u32, votes: [(&SecretKey, Option<Hash>); 2]) -> ConsensusMessage {
    let mut votes = votes.map(|(key, block)| RoundVote {
        kind: VoteKind::Prevote,
        block,
        validator: key.public_key(),
        signature: vote(key, VoteKind::Prevote, 1, round, block).signature,
    });
    votes.sort_by_key(|vote| vote.validator);
    ConsensusMessage::Round(RoundCertificate {
        height: Height(1),
        round: Round(round),
        kind: RoundCertificateKind::Skip,
        votes: votes.to_vec(),
    })
}

fn block_of(number: u64) -> Option<Hash> {
    let mut block = [9; 32];
    block[..8].copy_from_slice(&number.to_le_bytes());
    Some(Hash(block))
}

#[test]
fn certificates_that_one_validator_makes_without_end_are_taken_a_few_times_and_a_needed_one_always() {
    let mut bench = Bench::started(4, 3);
    let others = bench.others();
    let (liar, honest, other) = (&others[0], &others[1], &others[2]);
    let before = signature_checks();
    // The round is entered with the first; all others are valid but redundant.
    let taken: Vec<ConsensusMessage> = (0..10_000)
        .map(|number| skip(2, [(honest, None), (liar, block_of(number))]))
        .filter(|message| bench.give(message.clone()).0 != Verdict::Ignored)
        .collect();
    assert_eq!(bench.orderer.status().round, Round(2));
    assert!((1..=16).contains(&taken.len()), "{} were taken", taken.len());
    assert!(signature_checks() - before < 100);
    // Accepted certificates are still forwarded, to nodes that lack them.
    assert!(
        taken
            .iter()
            .all(|message| bench.give(message.clone()).0 == Verdict::Known)
    );
    // A vote of a validator that has not voted is new, in whatever message it arrives.
    let news = skip(2, [(other, None), (liar, block_of(20_000))]);
    assert_eq!(bench.give(news).0, Verdict::Fresh);
    assert_eq!(
        bench.vote(liar, VoteKind::Prevote, 2, block_of(30_000)).0,
        Verdict::Ignored,
        "votes in certificates count"
    );
    // This node is behind again: one good certificate moves it on.
    let good = skip(40, [(honest, None), (other, None)]);
    assert_eq!(bench.give(good).0, Verdict::Fresh);
    assert_eq!(bench.orderer.status().round, Round(40));
}

#[test]
fn a_polka_that_was_missed_lets_the_node_precommit() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = proposal.header.hash();
    bench.propose(proposal.clone());
    bench.check(&proposal.header, true);
    let mut signatures: Vec<VoteSignature> = bench
        .others()
        .iter()
        .map(|key| VoteSignature {
            validator: key.public_key(),
            signature: vote(key, VoteKind::Prevote, 1, 0, Some(block)).signature,
        })
        .collect();
    signatures.sort_by_key(|entry| entry.validator);
    let polka = PolkaCertificate {
        height: Height(1),
        round: Round(0),
        block,
        signatures,
    };
    let mut forged = polka.clone();
    forged.block = Hash([1; 32]);
    assert!(matches!(
        bench.give(ConsensusMessage::Polka(forged)).0,
        Verdict::Rejected(_)
    ));
    let (verdict, outputs) = bench.give(ConsensusMessage::Polka(polka));
    assert_eq!(verdict, Verdict::Fresh);
    assert_eq!(own_votes(&outputs), vec![(VoteKind::Precommit, Some(block))]);
}

#[test]
fn no_message_of_a_faulty_validator_makes_it_panic_or_break_the_order() {
    for seed in 0..4 {
        let mut bench = Bench::started(4, (seed % 4) as u32);
        let mut rng = Rng::new(seed + 1);
        let others = bench.others();
        let mut sent: Vec<Vec<u8>> = vec![];
        for _ in 0..3_000 {
            let key = &others[rng.below(2) as usize];
            let (height, round) = (rng.below(4), rng.below(14) as u32);
            let block = [None, Some(bench.header(0, rng.below(3)).hash())][rng.below(2) as usize];
            let kind = [VoteKind::Prevote, VoteKind::Precommit][rng.below(2) as usize];
            let message = match rng.below(10) {
                0..=4 => ConsensusMessage::Vote(vote(key, kind, height, round, block)),
                5..=6 => {
                    let round = rng.below(4) as u32;
                    let mut proposal = bench.proposal(round, rng.below(3));
                    proposal.lock_round = [None, Some(Round(rng.below(4) as u32))][rng.below(2) as usize];
                    proposal.header.round = Round(rng.below(4) as u32);
                    proposal.header.proposer = bench.proposer(proposal.header.round.0).public_key();
                    let key = bench.proposer(round);
                    ConsensusMessage::Proposal(Box::new(proposal.sign(&GENESIS, &key)))
                }
                _ if !sent.is_empty() => {
                    // Known bytes with a few bits flipped.
                    let mut bytes = sent[rng.below(sent.len() as u64) as usize].clone();
                    for _ in 0..=rng.below(3) {
                        let at = rng.below(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << rng.below(8);
                    }
                    let Ok(message) = decode(&bytes) else { continue };
                    message
                }
                _ => continue,
            };
            sent.push(encode(&message));
            let (_, outputs) = bench.give(message);
            for output in outputs {
                match output {
                    Output::Check { header, .. } if rng.below(2) == 0 => {
                        bench.check(&header, true);
                    }
                    Output::Build { height, round, .. } => {
                        let header = Box::new(bench.header(round.0, rng.below(3)));
                        bench.block(BlockEvent::Built {
                            height,
                            round,
                            header,
                        });
                    }
                    Output::Decided { .. } => bench.orderer.start_height(bench.params(1), T0),
                    _ => {}
                }
            }
            if rng.below(20) == 0 {
                let at = bench.orderer.next_deadline().unwrap_or(T0);
                bench.orderer.on_time(at);
                bench.drain();
            }
        }
    }
}
