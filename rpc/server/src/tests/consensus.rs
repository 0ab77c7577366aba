//! Rounds, turns, validators and double-sign evidence, over several validators.

use serde_json::{Value, json};
use vibecoin_primitives::{
    ChainParams, Evidence, Hash, Height, PENALTY_MIN, ProposerSchedule, PublicKey, Round, SecretKey, TimeMs,
    Vote, VoteKind, encode, hex,
};
use vibecoin_rpc_backend::{
    Backend as _, BodyVerdict, HeightRounds, RoundOutcome, RoundRecord, Tally, Voters, Wait,
};

use super::{Served, expect_error, serve_node};
use crate::Config;
use crate::mock::MockBackend;

/// Four validators of equal power.
async fn four() -> Served {
    let params = ChainParams {
        ticks_per_block: 1,
        hashes_per_tick: 10,
        quiet_ticks: 0,
        evidence_age_max: 10,
        ..ChainParams::devnet()
    };
    serve_node(MockBackend::with_validators(params, 4), Config::default()).await
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn text(key: PublicKey) -> String {
    hex::encode(&key.0)
}

/// Two votes of validator `n` for different blocks.
fn double_vote(served: &Served, n: u8, height: u64) -> Evidence {
    let genesis = served.node.facts().genesis;
    let vote = |block: u8| {
        let vote = Vote {
            kind: VoteKind::Prevote,
            height: Height(height),
            round: Round(0),
            block: Some(Hash([block; 32])),
            validator: key(n).public_key(),
        };
        vote.sign(&genesis, &key(n))
    };
    Evidence::votes(vote(1), vote(2))
}

#[tokio::test]
async fn the_schedule_tells_what_was_and_what_is_to_be() {
    let served = four().await;
    let set = served.node.facts().validators.clone();
    served.node.produce(2);
    served.node.produce_in(Round(2), &[]);
    served.node.produce(1);
    // By hand, from genesis on.
    let mut schedule = ProposerSchedule::genesis(&set);
    let mut expected = Vec::new();
    for (height, round) in [(1, 0), (2, 0), (3, 2), (4, 0), (5, 0), (6, 0)] {
        let at = |round| text(schedule.proposer(&set, Height(height), Round(round)).unwrap().key);
        expected.push((
            height,
            at(0),
            round,
            at(round),
            (0..round).map(at).collect::<Vec<_>>(),
        ));
        schedule = schedule.after(&set, Height(height), Round(round));
    }
    let answer = served
        .call("consensus_getSchedule", json!({"fromHeight": 1, "count": 6}))
        .await;
    let turns = answer["result"].as_array().unwrap();
    assert_eq!(turns.len(), 6);
    for (turn, (height, first, round, creator, passed)) in turns.iter().zip(expected) {
        assert_eq!(turn["height"], height.to_string());
        assert_eq!(turn["proposer"], first);
        if height <= 4 {
            assert_eq!(
                (&turn["round"], &turn["createdBy"]),
                (&json!(round), &json!(creator))
            );
            assert_eq!(
                turn.get("passedOver").cloned().unwrap_or(json!([])),
                json!(passed)
            );
        } else {
            assert_eq!((&turn["round"], &turn["createdBy"]), (&Value::Null, &Value::Null));
        }
    }
    let ahead = served
        .call("consensus_getSchedule", json!({"fromHeight": "1005", "count": 1}))
        .await;
    assert_eq!(ahead["result"][0]["height"], "1005");
    let beyond = served
        .call("consensus_getSchedule", json!([{"fromHeight": 1006}]))
        .await;
    expect_error(&beyond, 1101, "height_in_future");
    served.node.prune_below(Height(3));
    expect_error(
        &served
            .call("consensus_getSchedule", json!([{"fromHeight": 2}]))
            .await,
        1103,
        "pruned",
    );
}

#[tokio::test]
async fn a_validator_is_judged_by_the_chain_alone() {
    let served = four().await;
    let set = served.node.facts().validators.clone();
    let schedule = ProposerSchedule::genesis(&set);
    let [late, savior] = [0, 1].map(|round| schedule.proposer(&set, Height(1), Round(round)).unwrap().key);
    served.node.produce_in(Round(1), &[late]);
    served.node.produce_in(Round(0), &[late]);
    served.node.produce(2);
    let ask = |key: PublicKey, window: u32| {
        let params = json!({"key": text(key), "window": window});
        served.call("consensus_getValidator", params)
    };
    let answer = ask(late, 100).await;
    let record = &answer["result"];
    assert_eq!(
        (&record["missed"], &record["fromHeight"]),
        (&json!(1), &json!("1"))
    );
    assert_eq!(
        (&record["certificates"], &record["signed"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(record["uptimePermille"], 500);
    assert_eq!(record["power"], "1");
    let until = 2 + u64::from(PENALTY_MIN);
    assert_eq!(
        record["penaltyUntil"],
        until.to_string(),
        "held back after height 1: {record}"
    );
    let answer = ask(savior, 100).await;
    assert_eq!(answer["result"]["missed"], 0, "{answer}");
    assert!(answer["result"]["proposed"].as_u64().unwrap() >= 1, "{answer}");
    assert!(answer["result"].get("penaltyUntil").is_none(), "{answer}");
    // The window is the newest blocks only.
    assert_eq!(ask(late, 2).await["result"]["missed"], 0);
    expect_error(&ask(late, 0).await, -32602, "window_out_of_range");
    expect_error(&ask(PublicKey([9; 32]), 5).await, 1102, "not_found");
    let malformed = served.call("consensus_getValidator", json!(["0x12"])).await;
    expect_error(&malformed, 1000, "bad_encoding");
}

fn seen_round(round: u32, proposer: u8) -> RoundRecord {
    RoundRecord {
        round: Round(round),
        proposer: Some(key(proposer).public_key()),
        started: TimeMs(5),
        proposal: None,
        body: None,
        prevotes: Tally::default(),
        precommits: Tally::default(),
        timeouts: Vec::new(),
        outcome: RoundOutcome::Passed,
        took_ms: Some(7),
    }
}

fn voted(served: &Served, block: u8, who: &[u8]) -> Tally {
    let set = &served.node.facts().validators;
    let mut voters = Voters::default();
    for n in who {
        voters.insert(set.find(&key(*n).public_key()).unwrap().0);
    }
    Tally {
        blocks: vec![(Hash([block; 32]), who.len() as u64)],
        nil: 0,
        other: 0,
        voters,
    }
}

#[tokio::test]
async fn rounds_say_why_there_was_more_than_one() {
    let served = four().await;
    let block = Some((Hash([8; 32]), 3));
    let none = RoundRecord {
        timeouts: vec![(Wait::Propose, 200)],
        ..seen_round(0, 1)
    };
    let bodyless = RoundRecord {
        proposal: block,
        ..seen_round(1, 2)
    };
    let broken = RoundRecord {
        proposal: block,
        body: Some((BodyVerdict::Invalid, 4)),
        ..seen_round(2, 3)
    };
    let lonely = RoundRecord {
        proposal: block,
        body: Some((BodyVerdict::Valid, 4)),
        prevotes: voted(&served, 8, &[1, 2]),
        ..seen_round(3, 4)
    };
    let good = RoundRecord {
        proposal: block,
        body: Some((BodyVerdict::Valid, 4)),
        prevotes: voted(&served, 8, &[1, 2, 3]),
        precommits: voted(&served, 8, &[1, 2, 3]),
        outcome: RoundOutcome::Decided,
        ..seen_round(4, 1)
    };
    served.node.remember(HeightRounds {
        height: Height(1),
        decided: Some(Hash([8; 32])),
        rounds: vec![none, bodyless, broken, lonely, good],
        forgotten: 0,
    });
    let answer = served.call("consensus_getRounds", json!([])).await;
    let result = &answer["result"];
    assert_eq!(
        (&result["height"], &result["source"]),
        (&json!("1"), &json!("observed"))
    );
    let why = result["why"].as_str().unwrap();
    let short = |n: u8| text(key(n).public_key()).chars().take(10).collect::<String>();
    let expected = [
        format!("round 0: no proposal of {} came", short(1)),
        format!("round 1: the proposal of {} came, its body did not", short(2)),
        format!("round 2: the block of {} breaks a rule", short(3)),
        format!("round 3: 2 of 4 prevoted for the block of {}", short(4)),
        "decided in round 4".to_owned(),
    ];
    assert_eq!(why, expected.join("; "));
    let rounds = result["rounds"].as_array().unwrap();
    assert_eq!(
        rounds[0]["timeouts"],
        json!([{"step": "propose", "afterMs": "200"}])
    );
    assert_eq!(
        (&rounds[0]["body"], &rounds[2]["body"]),
        (&json!("none"), &json!("invalid"))
    );
    assert_eq!(rounds[3]["prevotes"]["power"], "2");
    assert_eq!(
        rounds[4]["precommits"]["missing"],
        json!([text(key(4).public_key())])
    );
    assert_eq!(rounds[4]["outcome"], "decided");
    let status = served.call("consensus_getStatus", json!([])).await;
    assert_eq!(status["result"]["prevotes"]["power"], "0", "of round 0: {status}");
    assert_eq!(status["result"]["abstaining"], false);
}

#[tokio::test]
async fn older_rounds_are_read_from_the_chain_and_others_are_refused() {
    let served = four().await;
    served.node.produce(1);
    served.node.produce_in(Round(2), &[]);
    let ask = |height: u64| served.call("consensus_getRounds", json!([height]));
    let answer = ask(2).await;
    let result = &answer["result"];
    assert_eq!(
        (&result["source"], &result["totalPower"]),
        (&json!("chain"), &json!("4"))
    );
    let rounds = result["rounds"].as_array().unwrap();
    let turn = served.node.header(Height(2)).unwrap().unwrap().0.proposer;
    assert_eq!((rounds.len(), &rounds[2]["proposer"]), (3, &json!(text(turn))));
    let outcomes: Vec<&Value> = rounds.iter().map(|round| &round["outcome"]).collect();
    assert_eq!(outcomes, ["passed", "passed", "decided"]);
    assert!(
        rounds[0].get("prevotes").is_none(),
        "the chain does not keep them"
    );
    assert_eq!(ask(1).await["result"]["why"], "decided in round 0");
    assert_eq!(ask(0).await["result"]["rounds"], json!([]));
    expect_error(&ask(9).await, 1101, "height_in_future");
    served.node.prune_below(Height(2));
    expect_error(&ask(1).await, 1103, "pruned");
}

#[tokio::test]
async fn evidence_is_taken_once_checked_and_found_again_page_by_page() {
    let served = four().await;
    served.node.produce(1);
    for (n, height) in [(1, 1), (2, 1), (3, 2)] {
        let raw = hex::encode(&encode(&double_vote(&served, n, height)));
        let taken = served.call("consensus_submitEvidence", json!([raw])).await;
        assert_eq!(taken["result"]["offender"], text(key(n).public_key()), "{taken}");
        assert_eq!(
            (&taken["result"]["kind"], &taken["result"]["raw"]),
            (&json!("duplicateVote"), &json!(raw))
        );
    }
    served.node.produce(2);
    served.node.hold_evidence(double_vote(&served, 4, 3));
    let mut cursor = Value::Null;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = served
            .call(
                "consensus_getEvidence",
                json!([{"from": 0, "limit": 2, "cursor": cursor}]),
            )
            .await;
        let items = page["result"]["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        seen.extend(
            items
                .iter()
                .map(|item| (item["offender"].clone(), item["block"].clone())),
        );
        cursor = page["result"]["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let who = |n: u8| json!(text(key(n).public_key()));
    let expected = [
        (who(1), json!("2")),
        (who(2), json!("2")),
        (who(3), json!("2")),
        (who(4), Value::Null),
    ];
    assert_eq!(seen, expected);
    assert!(cursor.is_null());
    let foreign = served.call("account_list", json!([{"limit": 1}])).await;
    let stolen = json!([{"cursor": foreign["result"]["value"]["nextCursor"]}]);
    expect_error(
        &served.call("consensus_getEvidence", stolen).await,
        1003,
        "bad_cursor",
    );
}

#[tokio::test]
async fn evidence_that_proves_nothing_is_refused_with_the_reason() {
    let served = four().await;
    served.node.produce(20);
    let submit = |evidence: Evidence| {
        let raw = hex::encode(&encode(&evidence));
        served.call("consensus_submitEvidence", json!({"raw": raw}))
    };
    expect_error(
        &submit(double_vote(&served, 1, 22)).await,
        1101,
        "height_in_future",
    );
    expect_error(
        &submit(double_vote(&served, 1, 10)).await,
        -32602,
        "evidence_too_old",
    );
    expect_error(&submit(double_vote(&served, 77, 20)).await, 1000, "bad_encoding");
    let Evidence::DuplicateVote { first, .. } = double_vote(&served, 1, 20) else {
        panic!("two votes")
    };
    let same = Evidence::DuplicateVote {
        first: first.clone(),
        second: first.clone(),
    };
    expect_error(&submit(same).await, 1000, "bad_encoding");
    let Evidence::DuplicateVote { mut second, first } = double_vote(&served, 1, 20) else {
        panic!("two votes")
    };
    second.signature.0[0] ^= 1;
    expect_error(
        &submit(Evidence::votes(*first, *second)).await,
        1301,
        "bad_signature",
    );
    let garbage = served.call("consensus_submitEvidence", json!(["0x00"])).await;
    expect_error(&garbage, 1000, "bad_encoding");
    assert!(served.node.evidence_waiting().is_empty());
}
