//! Blocks with certificates, and contradictions that stop the node.

use super::*;

#[test]
fn a_quorum_for_a_block_that_is_invalid_here_is_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let proposal = bench.proposal(0, 1);
    let block = proposal.header.hash();
    bench.propose(proposal.clone());
    bench.check(&proposal.header, false);
    let outputs = bench.votes(VoteKind::Precommit, 0, Some(block));
    let reason = HaltReason::InvalidDecision {
        height: Height(1),
        block,
    };
    assert_eq!(outputs.last(), Some(&Output::Halt(reason.clone())));
    assert_eq!(reason.class(), FaultClass::Safety);
    // Nothing is accepted after it.
    assert_eq!(bench.propose(proposal).0, Verdict::Ignored);
    bench.orderer.start_height(bench.params(2), T0);
    bench.orderer.on_time(T0.after(10_000_000));
    assert_eq!(bench.drain(), vec![]);
    assert_eq!(bench.orderer.next_deadline(), None);
}

#[test]
fn a_certified_block_decides_the_height_and_a_bad_certificate_nothing() {
    let mut bench = Bench::started(4, 3);
    let block = bench.header(0, 1);
    let good = bench.certificate(&block, 0);
    let synced = |certificate: &CommitCertificate| BlockEvent::Synced {
        header: Box::new(block.clone()),
        certificate: certificate.clone(),
        valid: true,
    };
    let mut few = good.clone();
    few.signatures.truncate(2);
    let mut forged = good.clone();
    forged.signatures[1].signature = forged.signatures[0].signature;
    let mut other_height = good.clone();
    other_height.height = Height(2);
    for wrong in [few, forged, other_height] {
        assert_eq!(bench.block(synced(&wrong)), vec![]);
    }
    let outputs = bench.block(synced(&good));
    assert_eq!(
        outputs,
        vec![Output::Decided {
            certificate: good.clone(),
            header: Box::new(block.clone()),
            evidence: vec![]
        }]
    );
    assert_eq!(bench.block(synced(&good)), vec![], "once");
    assert_eq!(bench.orderer.status().step, Step::Idle);
    assert_eq!(bench.orderer.next_deadline(), None);
}

#[test]
fn two_certified_blocks_at_one_height_are_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let (first, second) = (bench.header(0, 1), bench.header(0, 2));
    let synced = |bench: &Bench, header: &Header| BlockEvent::Synced {
        header: Box::new(header.clone()),
        certificate: bench.certificate(header, 0),
        valid: true,
    };
    let event = synced(&bench, &first);
    bench.block(event);
    let event = synced(&bench, &second);
    let outputs = bench.block(event);
    let (first, second) = (first.hash(), second.hash());
    assert_eq!(
        halted(&outputs),
        Some(&HaltReason::ConflictingCertificates {
            height: Height(1),
            first,
            second
        })
    );
}

#[test]
fn a_certified_block_that_is_invalid_is_a_safety_halt() {
    let mut bench = Bench::started(4, 3);
    let block = bench.header(0, 1);
    let certificate = bench.certificate(&block, 0);
    let outputs = bench.block(BlockEvent::Synced {
        header: Box::new(block),
        certificate,
        valid: false,
    });
    assert!(matches!(
        halted(&outputs),
        Some(HaltReason::InvalidDecision { .. })
    ));
}
