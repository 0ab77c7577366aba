//! Unit tests of the guard.

use super::*;

const GENESIS: Hash = Hash([7; 32]);

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn vote(kind: VoteKind, height: u64, round: u32, block: Option<Hash>) -> Statement {
    let vote = Vote {
        kind,
        height: Height(height),
        round: Round(round),
        block,
        validator: key().public_key(),
    };
    Statement::vote(&vote, &GENESIS)
}

fn prevote(height: u64, round: u32, block: u8) -> Statement {
    vote(VoteKind::Prevote, height, round, Some(Hash([block; 32])))
}

fn precommit(height: u64, round: u32, block: u8) -> Statement {
    vote(VoteKind::Precommit, height, round, Some(Hash([block; 32])))
}

fn after(statement: &Statement) -> Guard {
    let mut guard = Guard::default();
    guard.sign(statement, &key()).unwrap();
    guard
}

#[test]
fn the_order_is_height_then_round_then_step() {
    let steps = [
        prevote(1, 0, 1),
        precommit(1, 0, 1),
        prevote(1, 1, 1),
        precommit(1, 2, 1),
        prevote(2, 0, 1),
    ];
    for (i, earlier) in steps.iter().enumerate() {
        for later in steps.iter().skip(i).skip(1) {
            assert!(after(earlier).sign(later, &key()).is_ok());
            assert!(matches!(
                after(later).sign(earlier, &key()),
                Err(GuardRefusal::GoesBack { .. })
            ));
        }
    }
}

#[test]
fn the_same_statement_gives_the_same_signature_and_another_one_none() {
    let mut guard = Guard::default();
    let signature = guard.sign(&prevote(1, 0, 1), &key()).unwrap();
    assert!(guard.take_unsaved().is_some());
    assert_eq!(guard.sign(&prevote(1, 0, 1), &key()), Ok(signature));
    assert_eq!(guard.take_unsaved(), None, "nothing new to save");
    assert!(matches!(
        guard.sign(&prevote(1, 0, 2), &key()),
        Err(GuardRefusal::Different { .. })
    ));
    let nil = vote(VoteKind::Prevote, 1, 0, None);
    assert!(matches!(
        guard.sign(&nil, &key()),
        Err(GuardRefusal::Different { .. })
    ));
}

#[test]
fn what_another_chain_signs_is_another_statement() {
    let vote = |genesis| {
        let vote = Vote {
            kind: VoteKind::Prevote,
            height: Height(1),
            round: Round(0),
            block: None,
            validator: key().public_key(),
        };
        Statement::vote(&vote, &genesis)
    };
    let mut guard = after(&vote(GENESIS));
    assert!(guard.sign(&vote(Hash([8; 32])), &key()).is_err());
}

#[test]
fn a_refusal_changes_nothing() {
    let mut guard = after(&precommit(3, 1, 1));
    let before = guard.newest().cloned();
    let _ = guard.take_unsaved();
    assert!(guard.sign(&prevote(3, 1, 1), &key()).is_err());
    assert!(guard.build(Height(3), Round(1)).is_err());
    assert_eq!(guard.newest().cloned(), before);
    assert_eq!(guard.take_unsaved(), None);
}

#[test]
fn building_is_entered_once_and_remembered() {
    let mut guard = Guard::default();
    assert_eq!(guard.build(Height(1), Round(0)), Ok(Building::First));
    let entry = guard.take_unsaved().unwrap();
    assert_eq!(entry.position().step, GuardStep::Building);
    let mut again = Guard::new(Some(entry));
    assert_eq!(again.build(Height(1), Round(0)), Ok(Building::Again));
    assert_eq!(again.take_unsaved(), None);
    assert!(again.sign(&prevote(1, 0, 1), &key()).is_ok());
    assert!(again.build(Height(1), Round(0)).is_err(), "its turn is over");
    assert_eq!(again.build(Height(1), Round(1)), Ok(Building::First));
}

#[test]
fn a_guard_that_the_log_confirms_goes_on() {
    let statement = precommit(4, 0, 1);
    let entry = after(&statement).newest().cloned().unwrap();
    let mut guard = Guard::new(Some(entry.clone()));
    guard.compare_with_log(Height(4), vec![entry]);
    assert!(!guard.abstains(Height(4)));
    assert!(guard.sign(&prevote(4, 1, 2), &key()).is_ok());
}

#[test]
fn a_guard_ahead_of_the_log_abstains_up_to_its_height() {
    let entry = after(&precommit(4, 0, 1)).newest().cloned();
    for height in [3, 4] {
        let mut guard = Guard::new(entry.clone());
        guard.compare_with_log(Height(height), vec![]);
        assert!(guard.abstains(Height(height)));
        let later = prevote(4, 7, 2);
        assert!(matches!(
            guard.sign(&later, &key()),
            Err(GuardRefusal::Abstains { .. })
        ));
        assert!(matches!(
            guard.build(Height(4), Round(9)),
            Err(GuardRefusal::Abstains { .. })
        ));
        assert!(!guard.abstains(Height(5)));
        assert!(guard.sign(&prevote(5, 0, 2), &key()).is_ok());
    }
}

#[test]
fn an_abstention_that_was_asked_for_holds_for_a_key_without_entries_and_is_never_shortened() {
    let mut guard = Guard::new(None);
    guard.abstain_through(Height(6));
    guard.abstain_through(Height(5));
    guard.compare_with_log(Height(4), vec![]);
    assert!(guard.abstains(Height(6)) && !guard.abstains(Height(7)));
    assert!(matches!(
        guard.sign(&prevote(6, 0, 1), &key()),
        Err(GuardRefusal::Abstains { .. })
    ));
    assert!(guard.build(Height(6), Round(0)).is_err());
    assert!(guard.sign(&prevote(7, 0, 1), &key()).is_ok());
}

#[test]
fn building_in_a_later_round_does_not_hide_votes_that_the_log_lost() {
    let mut guard = after(&precommit(4, 0, 1));
    let signed = guard.newest().cloned().unwrap();
    guard.build(Height(4), Round(1)).unwrap();
    let building = guard.newest().cloned().unwrap();

    let mut lost = Guard::new(Some(building.clone()));
    lost.compare_with_log(Height(4), vec![]);
    assert!(lost.abstains(Height(4)));

    let mut kept = Guard::new(Some(building));
    kept.compare_with_log(Height(4), vec![signed]);
    assert!(!kept.abstains(Height(4)));
}

#[test]
fn building_the_first_block_of_a_height_hides_nothing() {
    let mut guard = after(&precommit(3, 0, 1));
    guard.build(Height(4), Round(0)).unwrap();
    let mut guard = Guard::new(guard.newest().cloned());
    guard.compare_with_log(Height(4), vec![]);
    assert!(!guard.abstains(Height(4)));
}

#[test]
fn a_guard_behind_the_log_catches_up_and_asks_to_be_saved() {
    let prevoted = after(&prevote(4, 0, 1)).newest().cloned().unwrap();
    let precommitted = after(&precommit(4, 0, 1)).newest().cloned().unwrap();
    for start in [None, Some(prevoted.clone())] {
        let mut guard = Guard::new(start);
        guard.compare_with_log(Height(4), vec![prevoted.clone(), precommitted.clone()]);
        assert_eq!(guard.take_unsaved(), Some(precommitted.clone()));
        assert!(guard.sign(&precommit(4, 0, 2), &key()).is_err());
    }
}
