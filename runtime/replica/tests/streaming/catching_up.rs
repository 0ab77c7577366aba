//! Late nodes, and peers that serve them.

use super::*;

#[test]
fn a_node_that_joins_late_catches_up_with_certified_blocks() {
    let mut net = Net::new(&VALIDATORS);
    net.give(1, 0);
    net.until(0, 40);
    net.add(None);
    net.until(4, 45);
    net.all_agree(40);
    assert!(net.nodes[4].blames.is_empty(), "{:?}", net.nodes[4].blames);
}

#[test]
fn a_synced_block_with_a_wrong_certificate_is_refused_and_its_sender_blamed() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 20);
    net.add(None);
    let mut lies = 1;
    net.loses = Box::new(move |_, _, message| {
        let lie = lies > 0 && matches!(message, Message::SyncResponse { .. });
        lies -= i32::from(lie);
        lie
    });
    // Node 1 sends block 1 under the certificate of block 2 before any peer answers correctly.
    let commits = &net.nodes[1].commits;
    let forged = CertifiedBlock {
        header: commits[0].header.clone(),
        body: encode(&commits[0].body),
        certificate: commits[1].certificate.clone(),
    };
    let asked = net
        .sent
        .iter()
        .any(|(node, message)| *node == 4 && matches!(message, Message::SyncRequest { .. }));
    assert!(asked, "the node that joins asks at once");
    for peer in 0..4 {
        let blocks = vec![forged.clone()];
        let from = Height(1);
        net.deliver(peer, 4, Message::SyncResponse { from, blocks });
    }
    assert!(net.nodes[4].commits.is_empty());
    assert!(!net.nodes[4].blames.is_empty());
    net.until(4, 20);
    net.all_agree(20);
}

#[test]
fn a_peer_that_asks_for_a_body_over_and_over_gets_a_few_at_a_time() {
    let mut net = Net::new(&VALIDATORS);
    let proposal = |(node, message): &(usize, Message)| match message {
        Message::Consensus(ConsensusMessage::Proposal(signed)) => {
            Some((*node, signed.proposal.header.clone()))
        }
        _ => None,
    };
    // The first proposal is dropped for all, so that its proposer still has the block at hand.
    net.loses = Box::new(|_, _, _| true);
    let (proposer, header) = loop {
        net.pass();
        if let Some(found) = net.sent.iter().find_map(proposal) {
            break found;
        }
    };
    let asker = (proposer + 1) % 4;
    let bodies = |net: &Net| {
        let body = |(_, to, message): &&(usize, usize, Message)| {
            *to == asker && matches!(message, Message::Body { .. })
        };
        net.wire.iter().filter(body).count()
    };
    let ask = |net: &mut Net, times: usize| {
        for _ in 0..times {
            let message = Message::BodyRequest {
                height: header.height,
                block: header.hash(),
            };
            net.deliver(asker, proposer, message);
        }
    };
    net.wire.clear();
    ask(&mut net, 100);
    assert_eq!(bodies(&net), BODIES_PER_RETRY as usize);
    net.now.mono = net.now.mono.after(RETRY_MICROS);
    ask(&mut net, 1);
    assert_eq!(
        bodies(&net),
        BODIES_PER_RETRY as usize + 1,
        "later it may ask again"
    );
}
