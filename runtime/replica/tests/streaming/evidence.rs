//! Evidence, and verdicts on gossiped statements.

use super::*;

/// Two prevotes of one validator for different blocks of a height.
fn double_vote(net: &Net, height: Height) -> Evidence {
    support::double_vote(&net.chain.genesis, &key(4), height, Round(0))
}

#[test]
fn evidence_about_a_height_to_come_is_in_no_block_and_stops_nobody() {
    let mut net = Net::new(&VALIDATORS);
    let evidence = double_vote(&net, Height(1_000_000_000));
    for to in 0..3 {
        let message = Message::Evidence(Box::new(evidence.clone()));
        net.wire.push_back((3, to, message));
    }
    (0..4).for_each(|node| net.until(node, 8));
    net.all_agree(8);
    let carried: Vec<&Evidence> = net.nodes[0]
        .commits
        .iter()
        .flat_map(|commit| &commit.body.v1().evidence)
        .collect();
    assert_eq!(carried, Vec::<&Evidence>::new());
    assert!(net.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn evidence_that_a_client_repeats_is_told_to_peers_once() {
    let mut net = Net::new(&VALIDATORS);
    let evidence = double_vote(&net, Height(1));
    let repeat = |net: &mut Net| {
        for _ in 0..1_000 {
            net.step(0, Event::Evidence(Box::new(evidence.clone())));
        }
    };
    let told = |net: &Net| {
        let sent = net.sent.iter();
        sent.filter(|(node, message)| *node == 0 && matches!(message, Message::Evidence(_)))
            .count()
    };
    repeat(&mut net);
    assert_eq!(told(&net), 1);
    let carried = |net: &Net| {
        let commits = net.nodes[0].commits.iter();
        commits
            .filter(|commit| !commit.body.v1().evidence.is_empty())
            .count()
    };
    net.until(0, 8);
    assert_eq!(carried(&net), 1);
    repeat(&mut net);
    net.until(0, 12);
    assert_eq!((told(&net), carried(&net)), (1, 1), "what is recorded is no news");
}

#[test]
fn two_different_parts_in_one_place_become_evidence_in_a_block() {
    let mut net = Net::new(&VALIDATORS);
    // Height 1: each proposer also signs another opening, which reaches every node.
    while !net
        .sent
        .iter()
        .any(|(_, message)| matches!(message, Message::Part(_)))
    {
        net.until(0, 0);
        let (from, to, message) = net.wire.pop_front().unwrap_or_else(|| panic!("no part was sent"));
        net.wire.push_back((from, to, message));
    }
    let (proposer, honest) = net
        .sent
        .iter()
        .find_map(|(node, message)| match message {
            Message::Part(part) => Some((*node, part.signed.statement.clone())),
            _ => None,
        })
        .unwrap();
    let tick = PartContent::Tick(Tick {
        hash: Hash([77; 32]),
        transactions: Vec::new(),
    });
    let secret = (1..=4)
        .map(key)
        .find(|key| key.public_key() == honest.proposer)
        .unwrap();
    let other = PartStatement {
        sequence: 1,
        ..honest.clone()
    };
    assert_eq!(
        honest.digest,
        opening().digest(),
        "height 1 has no parent certificate"
    );
    let lie = sign_part(&net.chain.genesis, &secret, other, tick);
    for to in (0..4).filter(|to| *to != proposer) {
        net.wire
            .push_back((proposer, to, Message::Part(Box::new(lie.clone()))));
    }
    net.until(0, 6);
    let evidence: Vec<&Evidence> = net.nodes[0]
        .commits
        .iter()
        .flat_map(|commit| &commit.body.v1().evidence)
        .collect();
    assert!(
        evidence
            .iter()
            .any(|piece| matches!(piece, Evidence::DuplicatePart { .. })),
        "{evidence:?}"
    );
    assert!(
        evidence
            .iter()
            .all(|piece| piece.offender() == (honest.proposer, honest.height))
    );
}

#[test]
fn gossiped_statements_get_a_verdict_each() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 1);
    let of = (Height(2), Round(0));
    let stranger = support::vote(&net.chain.genesis, &key(9), VoteKind::Prevote, of, None);
    let message = Message::Consensus(vibecoin_consensus::ConsensusMessage::Vote(stranger));
    let event = Event::Message {
        from: PeerId(1),
        message: Box::new(message),
        verified: Vec::new(),
        gossip: Some(vibecoin_replica::GossipId(7)),
    };
    net.nodes[0].replica.step(net.now, event);
    let mut verdicts = Vec::new();
    while let Some(action) = net.nodes[0].replica.poll() {
        if let Action::Forward { gossip, verdict } = action {
            verdicts.push((gossip.0, verdict));
        }
    }
    assert!(
        matches!(verdicts[..], [(7, Verdict::Rejected(_))]),
        "{verdicts:?}"
    );
}
