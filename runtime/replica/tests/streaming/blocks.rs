//! Blocks and their parts: streamed, lost, reordered, fetched as bodies.

use super::*;

#[test]
fn streamed_blocks_are_decided_without_anybody_asking_for_a_body() {
    let mut net = Net::new(&VALIDATORS);
    (0..4).for_each(|node| net.give(node, 0));
    for node in 0..4 {
        net.until(node, 3);
    }
    net.all_agree(3);
    let transactions: usize = net.nodes[0].commits.iter().map(|commit| commit.ids.len()).sum();
    assert_eq!(transactions, 1);
    assert_eq!(net.body_requests(), 0);
    assert!(net.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn an_idle_proposer_that_holds_its_block_open_is_not_passed_over() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 4);
    for commit in &net.nodes[0].commits {
        assert_eq!(commit.header.round, Round(0), "height {}", commit.header.height);
    }
}

#[test]
fn a_liar_at_work_on_later_rounds_does_not_take_an_idle_proposers_turn() {
    let mut net = Net::new(&VALIDATORS);
    let (liar, chain) = (key(3), net.chain.clone());
    let mut lied_at = Height(0);
    let mut lies = 0;
    while net.nodes[0].commits.len() < 8 {
        if let Some((_, _, Message::Part(part))) = net.wire.front()
            && part.signed.statement.height > lied_at
        {
            let PartStatement { height, parent, .. } = part.signed.statement;
            lied_at = height;
            // One of these rounds is its turn; its messages about the others are ignored.
            for round in (1..4).map(Round) {
                let header = Header {
                    height,
                    round,
                    parent,
                    proposer: liar.public_key(),
                    ..genesis(&chain).header
                };
                let proposal = Proposal {
                    height,
                    round,
                    header,
                    lock_round: None,
                    proposer: liar.public_key(),
                };
                let tick = PartContent::Tick(Tick {
                    hash: Hash([77; 32]),
                    transactions: vec![transfer(&chain, 0).transaction().clone()],
                });
                let statement = PartStatement {
                    height,
                    round,
                    proposer: liar.public_key(),
                    parent,
                    sequence: 1,
                    digest: Hash::ZERO,
                };
                let part = sign_part(&chain.genesis, &liar, statement, tick);
                let proposal = Box::new(proposal.sign(&chain.genesis, &liar));
                for to in [0, 1, 3] {
                    net.deliver(2, to, Message::Part(Box::new(part.clone())));
                    net.deliver(
                        2,
                        to,
                        Message::Consensus(ConsensusMessage::Proposal(proposal.clone())),
                    );
                }
                lies += 1;
            }
        }
        net.pass();
    }
    assert!(lies >= 3 * 8, "{lies}");
    for commit in &net.nodes[0].commits {
        assert_eq!(commit.header.round, Round(0), "height {}", commit.header.height);
    }
}

#[test]
fn a_transaction_that_only_the_proposer_knows_is_checked_and_executed_by_all() {
    let mut net = Net::new(&VALIDATORS);
    // Whichever node proposes, three of four see it for the first time in a part.
    net.give(0, 0);
    for node in 0..4 {
        net.until(node, 5);
    }
    net.all_agree(5);
    let transactions: usize = net.nodes[3].commits.iter().map(|commit| commit.ids.len()).sum();
    assert_eq!(transactions, 1);
    assert_eq!(net.body_requests(), 0);
}

#[test]
fn a_lost_part_is_made_up_for_by_the_body() {
    // With three of four validators, none may be missing.
    let mut net = Net::new(&[Some(1), Some(2), Some(3)]);
    net.loses = Box::new(|_, to, message| {
        to == 2 && matches!(message, Message::Part(part) if part.signed.statement.sequence == 2)
    });
    net.until(2, 3);
    net.all_agree(2);
    assert!(net.body_requests() >= 1, "nothing was lost");
}

#[test]
fn a_block_that_its_proposer_keeps_from_one_validator_costs_that_one_no_time() {
    const BLOCKS: usize = 12;
    let mut net = Net::new(&VALIDATORS);
    net.loses = Box::new(|from, to, message| {
        from == 0 && to == 1 && matches!(message, Message::Part(_) | Message::Body { .. })
    });
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..20_000 {
        if net.nodes.iter().all(|node| node.commits.len() >= BLOCKS) {
            break;
        }
        net.pass();
        for (node, times) in net.nodes.iter().zip(&mut times) {
            times.resize(node.commits.len(), net.now.mono);
        }
    }
    assert_eq!(
        times[1][..BLOCKS],
        times[2][..BLOCKS],
        "the others got it at these times"
    );
    let commits = net.nodes[2].commits.iter();
    let kept_back = commits.filter(|commit| commit.header.proposer == key(1).public_key());
    let kept_back = kept_back.count();
    assert!(kept_back >= 2, "{kept_back}");
    assert!(
        net.body_requests() <= 2 * (kept_back + 1),
        "{}",
        net.body_requests()
    );
}

#[test]
fn parts_in_any_order_make_the_same_block() {
    let mut net = Net::new(&VALIDATORS);
    let mut held = false;
    // Node 3 gets the first tick of every block after the others: it is delayed once more.
    net.loses = Box::new(move |_, to, message| {
        let first = to == 3 && matches!(message, Message::Part(part) if part.signed.statement.sequence == 1);
        held = first && !held;
        held
    });
    net.until(0, 1);
    let late: Vec<(usize, Message)> = net
        .sent
        .iter()
        .filter(|(_, message)| matches!(message, Message::Part(part) if part.signed.statement.sequence == 1))
        .cloned()
        .collect();
    for (from, message) in late {
        net.wire.push_front((from, 3, message));
    }
    net.until(3, 2);
    net.all_agree(1);
}

#[test]
fn a_node_without_a_key_follows_by_asking_for_bodies() {
    let mut net = Net::new(&[Some(1), Some(2), Some(3), Some(4), None]);
    net.loses = Box::new(|_, to, message| to == 4 && matches!(message, Message::Part(_)));
    net.until(4, 3);
    net.all_agree(2);
    assert!(net.body_requests() >= 2);
}
