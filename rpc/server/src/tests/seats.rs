//! Admission to seats, and eviction from them.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

use std::time::Duration;

use super::*;
use crate::config::Config;

const SECOND: Duration = Duration::from_secs(1);

fn seats(config: Config) -> Arc<Seats> {
    Seats::new(Limits::of(&config), Arc::default())
}

fn small() -> Config {
    Config {
        connections_max: 8,
        connections_per_address_max: 4,
        websockets_max: 4,
        websockets_per_address_max: 2,
        held_bytes_max: 1000,
        ..Config::default()
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn closed(seated: &Seated) -> Option<Closed> {
    *seated.closing.borrow()
}

#[test]
fn silent_connections_of_one_address_take_seats_from_each_other_alone() {
    let (seats, start) = (seats(small()), Instant::now());
    let honest = seats.take(0, ip(2), start).unwrap();
    let silent: Vec<_> = (1..=210u32)
        .map(|id| seats.take(id, ip(1), start + SECOND * id).unwrap())
        .collect();
    assert_eq!(closed(&honest), None);
    let open = silent.iter().filter(|seated| closed(seated).is_none()).count();
    assert_eq!(open, 4, "the bound of one address");
    assert!(seats.take(300, ip(3), start).is_some());
    assert_eq!(closed(&honest), None);
}

#[test]
fn an_ipv6_64_is_one_address() {
    let (seats, start) = (seats(small()), Instant::now());
    let taken: Vec<_> = (0..10u32)
        .map(|id| {
            let ip: IpAddr = format!("2001:db8::{id:x}").parse().unwrap();
            seats.take(id, ip, start + SECOND * id).unwrap()
        })
        .collect();
    assert_eq!(taken.iter().filter(|seated| closed(seated).is_none()).count(), 4);
}

#[test]
fn on_this_machine_the_longest_silent_gives_way_and_work_does_not() {
    let (seats, start) = (seats(small()), Instant::now());
    let local = IpAddr::from([127, 0, 0, 1]);
    let working = seats.take(0, local, start).unwrap();
    working.enter(Phase::Work);
    let answered = seats.take(1, local, start).unwrap();
    answered.enter(Phase::Idle);
    let silent: Vec<_> = (2..8u32)
        .map(|id| seats.take(id, local, start + SECOND * id).unwrap())
        .collect();
    let later = start + SECOND * 60;
    let newcomer = seats.take(8, local, later).unwrap();
    let evicted: Vec<bool> = silent.iter().map(|seated| closed(seated).is_some()).collect();
    assert_eq!(evicted, [true, false, false, false, false, false]);
    let more: Vec<_> = (9..14u32)
        .map(|id| seats.take(id, local, later).unwrap())
        .collect();
    assert!(
        silent
            .iter()
            .all(|seated| closed(seated) == Some(Closed::Evicted))
    );
    assert_eq!(
        closed(&answered),
        None,
        "one that was answered goes after those that asked nothing"
    );
    let fresh = [&newcomer].into_iter().chain(&more);
    assert!(fresh.into_iter().all(|seated| closed(seated).is_none()));
    assert!(seats.take(14, local, later).is_some());
    assert_eq!(
        closed(&answered),
        Some(Closed::Evicted),
        "before those that have just come"
    );
    assert_eq!(closed(&working), None);
}

#[test]
fn a_connection_that_lingers_behind_its_answer_goes_first() {
    let (seats, start) = (seats(small()), Instant::now());
    let silent: Vec<_> = (1..8u8)
        .map(|id| seats.take(id.into(), ip(id), start).unwrap())
        .collect();
    let later = start + SECOND;
    let lingering = seats.take(8, ip(8), later).unwrap();
    // A session, too, once it is over.
    assert!(lingering.upgrade());
    lingering.enter(Phase::Lingering);
    assert!(seats.take(9, ip(9), later).is_some());
    assert_eq!(closed(&lingering), Some(Closed::Evicted));
    assert!(silent.iter().all(|seated| closed(seated).is_none()));
}

#[test]
fn when_all_seats_are_at_work_a_newcomer_gets_none() {
    let (seats, start) = (seats(small()), Instant::now());
    let working: Vec<_> = (0..8u8)
        .map(|id| {
            let seated = seats.take(id.into(), ip(id), start).unwrap();
            seated.enter(Phase::Work);
            seated
        })
        .collect();
    assert!(seats.take(8, ip(8), start + SECOND).is_none());
    drop(working);
    assert!(seats.take(8, ip(8), start + SECOND).is_some());
}

#[test]
fn every_phase_has_its_deadline() {
    let config = Config::default();
    let (first, header, idle) = (
        config.first_byte_timeout,
        config.header_timeout,
        config.idle_timeout,
    );
    let seats = seats(config);
    for (phase, limit, why) in [
        (Phase::Opened, first, Closed::Silent),
        (Phase::Header, header, Closed::SlowRequest),
        (Phase::Idle, idle, Closed::Idle),
    ] {
        let seated = seats.take(0, ip(1), Instant::now()).unwrap();
        seated.enter(phase);
        let begun = Instant::now();
        seats.sweep(begun + limit - SECOND);
        assert_eq!(closed(&seated), None, "{phase:?}");
        seats.sweep(begun + limit + SECOND);
        assert_eq!(closed(&seated), Some(why), "{phase:?}");
    }
    let seated = seats.take(0, ip(1), Instant::now()).unwrap();
    seated.enter(Phase::Work);
    seats.sweep(Instant::now() + SECOND * 3600);
    assert_eq!(closed(&seated), None, "calls have limits of their own");
}

#[test]
fn a_byte_now_and_then_pays_for_no_seconds_and_real_reading_does() {
    let config = Config::default();
    let write = config.write_timeout;
    let seats = seats(config);
    let stuck_for = |bytes_each_second: usize| {
        let seated = seats.take(0, ip(1), Instant::now()).unwrap();
        seated.enter(Phase::Work);
        seated.stuck();
        for _ in 0..write.as_secs() + 1 {
            // A second passes by moving the start of the wait back.
            let mut state = seated.state.lock();
            state.stuck = state.stuck.and_then(|since| since.checked_sub(SECOND));
            drop(state);
            seated.written(bytes_each_second);
            seated.stuck();
        }
        seats.sweep(Instant::now());
        closed(&seated)
    };
    assert_eq!(stuck_for(1), Some(Closed::SlowReader));
    assert_eq!(stuck_for(64 * 1024), None);
}

#[test]
fn the_reader_that_holds_most_is_closed_when_all_hold_too_much() {
    let (seats, now) = (seats(small()), Instant::now());
    let taken: Vec<_> = (0..3u8)
        .map(|id| seats.take(id.into(), ip(id), now).unwrap())
        .collect();
    let _small = taken[0].hold(100);
    let _large = taken[1].hold(700);
    assert!(
        taken.iter().all(|seated| closed(seated).is_none()),
        "800 of 1,000"
    );
    let third = taken[2].hold(300);
    assert_eq!(closed(&taken[1]), Some(Closed::Memory));
    assert_eq!((closed(&taken[0]), closed(&taken[2])), (None, None));
    drop(third);
    assert_eq!(seats.held(), 800);
}

#[test]
fn many_requests_of_one_address_are_closed_before_the_larger_one_of_another() {
    let (seats, now) = (seats(small()), Instant::now());
    let taken: Vec<_> = [1, 1, 1, 2]
        .iter()
        .zip(0u32..)
        .map(|(last, id)| seats.take(id, ip(*last), now).unwrap())
        .collect();
    let _own = [taken[0].hold(150), taken[1].hold(250), taken[2].hold(200)];
    let honest = taken[3].hold(390);
    let more = taken[0].hold(20);
    let all: Vec<_> = taken.iter().map(closed).collect();
    assert_eq!(all, [None, Some(Closed::Memory), None, None]);
    drop((honest, more));
}

#[test]
fn bytes_without_a_guard_are_forgotten_with_their_connection() {
    let (seats, now) = (seats(small()), Instant::now());
    let seated = seats.take(0, ip(1), now).unwrap();
    let mut chunk = seated.queue(600);
    chunk.pass_on(500);
    drop(chunk);
    let guard = seated.hold(100);
    seated.sent(50);
    assert_eq!((seated.queued(), seats.held()), (450, 550));
    drop(seated);
    drop(guard);
    assert_eq!(seats.held(), 0);
}

#[test]
fn sessions_are_bounded_per_address_and_in_total_and_leave_seats_for_calls() {
    let (seats, now) = (seats(small()), Instant::now());
    let take = |id: u32, last: u8| seats.take(id, ip(last), now).unwrap();
    let first = [take(0, 1), take(1, 1), take(2, 1)];
    assert_eq!(
        first.iter().map(Seated::upgrade).collect::<Vec<_>>(),
        [true, true, false]
    );
    let second = [take(3, 2), take(4, 2)];
    assert!(second.iter().all(Seated::upgrade));
    let uses = [&first[0], &second[0]].map(|seated| seated.seat().in_use());
    let third = take(5, 3);
    assert!(
        third.upgrade(),
        "in the place of an idle one of an address with two"
    );
    let fourth = take(6, 4);
    assert!(fourth.upgrade());
    assert!(!take(7, 5).upgrade(), "four sessions in total, of four addresses");
    drop((first, uses));
    assert!(take(8, 5).upgrade());
}

#[test]
fn calls_that_wait_have_half_of_the_seats_and_an_address_a_share_of_them() {
    let config = Config {
        connections_max: 16,
        ..small()
    };
    let (seats, now) = (seats(config), Instant::now());
    let take = |id: u32, ip: IpAddr| seats.take(id, ip, now).unwrap();
    let greedy = [take(0, ip(1)), take(1, ip(1)), take(2, ip(1))];
    let mut waits: Vec<_> = greedy.iter().map(Seated::wait).collect();
    assert_eq!(waits.pop().unwrap().unwrap_err(), TooManyWait::OfAddress(2));
    waits.truncate(1);
    waits.push(greedy[2].wait());
    assert!(waits[1].is_ok(), "the end of a wait makes room for another");

    let local = IpAddr::from([127, 0, 0, 1]);
    let others: Vec<_> = (3..9).map(|id| take(id, local)).collect();
    waits.extend(others.iter().map(Seated::wait));
    assert!(
        waits.iter().all(Result::is_ok),
        "this machine has no share of its own"
    );
    let local_too = take(9, local);
    assert_eq!(local_too.wait().unwrap_err(), TooManyWait::OfAll(8));
    assert!(local_too.upgrade());
    assert!(local_too.wait().is_ok(), "a session has a bound of its own");
    assert_eq!(local_too.state.lock().phase, Phase::Session);
}

/// Found in review: four addresses refused the waits of all others.
#[test]
fn a_newcomer_that_waits_displaces_the_oldest_wait_of_the_address_with_most() {
    let config = Config {
        connections_max: 16,
        ..small()
    };
    let (seats, now) = (seats(config), Instant::now());
    let take = |id: u32, ip: IpAddr| seats.take(id, ip, now).unwrap();
    // Two of each of four addresses: all that may wait.
    let greedy: Vec<_> = (0..8u8).map(|id| take(id.into(), ip(1 + id % 4))).collect();
    let mut waits: Vec<_> = greedy.iter().map(|seated| seated.wait().unwrap()).collect();
    let newcomers = [take(8, ip(5)), take(9, ip(6)), take(10, ip(7)), take(11, ip(8))];
    waits.extend(newcomers.iter().map(|seated| seated.wait().unwrap()));
    let evicted: Vec<_> = greedy.iter().map(|seated| closed(seated).is_some()).collect();
    let (oldest, newest) = evicted.split_at(4);
    assert_eq!((oldest, newest), (&[true; 4][..], &[false; 4][..]));
    assert!(newcomers.iter().all(|seated| closed(seated).is_none()));
    // Each address has one now: none has more than another.
    assert_eq!(take(12, ip(9)).wait().unwrap_err(), TooManyWait::OfAll(8));
}

/// Found in review: five addresses refused the sessions of all others.
#[test]
fn an_address_with_fewer_sessions_displaces_an_idle_one_of_the_address_with_most() {
    let config = Config {
        connections_max: 200,
        connections_per_address_max: 64,
        ..Config::default()
    };
    let (seats, now) = (seats(config), Instant::now());
    let mut id = 0u32;
    let mut session = |last: u8| {
        id += 1;
        let seated = seats.take(id, ip(last), now).unwrap();
        seated.upgrade().then_some(seated)
    };
    let mut open: Vec<Vec<_>> = (1..=5u8)
        .map(|of| (0..30).map(|_| session(of).unwrap()).collect())
        .collect();
    // One address uses all of its sessions, another has one more idle session than the rest.
    let uses: Vec<_> = open[0].iter().map(|seated| seated.seat().in_use()).collect();
    let honest = session(6).unwrap();
    let idle_closed = |open: &Vec<Vec<Seated>>| {
        let closed = |of: &Vec<Seated>| of.iter().filter(|seated| closed(seated).is_some()).count();
        open.iter().map(closed).collect::<Vec<_>>()
    };
    assert_eq!(idle_closed(&open).iter().sum::<usize>(), 1);
    assert_eq!(idle_closed(&open)[0], 0, "idle sessions go first");
    // Without idle ones, the address with more than a sixteenth of all loses one in use.
    let more: Vec<_> = open[1..]
        .iter()
        .flatten()
        .map(|seated| seated.seat().in_use())
        .collect();
    let second = session(7).unwrap();
    assert_eq!(idle_closed(&open).iter().sum::<usize>(), 2);
    for newcomer in [&honest, &second] {
        assert_eq!(closed(newcomer), None);
    }
    // An address that has most itself displaces none.
    assert!(session(2).is_none());
    drop((uses, more));
    open.clear();
}

#[test]
fn a_session_in_use_by_an_address_with_few_keeps_its_seat() {
    let config = Config {
        websockets_max: 2,
        ..small()
    };
    let (seats, now) = (seats(config), Instant::now());
    let take = |id: u32, last: u8| seats.take(id, ip(last), now).unwrap();
    let own = [take(0, 1), take(1, 1)];
    assert!(own.iter().all(Seated::upgrade));
    let uses = own[1].seat().in_use();
    let second = take(2, 2);
    assert!(second.upgrade(), "the idle one goes");
    assert_eq!(own.each_ref().map(closed), [Some(Closed::Evicted), None]);
    assert!(!take(3, 3).upgrade(), "one each");
    assert!(!own[1].is_idle_session(Duration::ZERO));
    drop(uses);
    let idle = own[1].state.lock().since;
    assert!(idle > now, "idle since its last use");
    while !own[1].is_idle_session(Duration::ZERO) {
        std::hint::spin_loop();
    }
    assert!(!own[1].is_idle_session(SECOND * 3600));
}

#[test]
fn a_newcomer_ends_the_oldest_wait_of_the_address_with_most_when_no_other_can_go() {
    let (seats, start) = (seats(small()), Instant::now());
    let local = IpAddr::from([127, 0, 0, 1]);
    let taken: Vec<_> = [ip(1), local, local, ip(2), ip(3), ip(4), ip(5), ip(6)]
        .into_iter()
        .zip(0..)
        .map(|(ip, id)| seats.take(id, ip, start).unwrap())
        .collect();
    for (seated, phase) in taken.iter().zip(
        [[Phase::Waiting; 3].as_slice(), &[Phase::Work; 4], &[Phase::Idle]]
            .concat()
            .iter(),
    ) {
        seated.enter(*phase);
    }
    let mut newcomers = Vec::new();
    for (id, victim) in [(8u8, 7), (9, 1), (10, 0), (11, 2)] {
        let newcomer = seats.take(id.into(), ip(7 + id), Instant::now()).unwrap();
        newcomer.enter(Phase::Work);
        newcomers.push(newcomer);
        assert_eq!(closed(&taken[victim]), Some(Closed::Evicted), "for {id}");
        let evicted = taken.iter().filter(|seated| closed(seated).is_some()).count();
        assert_eq!(evicted, newcomers.len());
    }
    assert!(seats.take(12, ip(20), Instant::now()).is_none());
}

#[test]
fn calls_in_line_have_half_of_the_seats_and_a_newcomer_displaces_the_oldest_of_who_has_most() {
    let config = Config {
        connections_max: 16,
        ..small()
    };
    let (seats, start) = (seats(config), Instant::now());
    let take = |id: u32, ip: IpAddr| {
        let seated = seats.take(id, ip, start).unwrap();
        seated.enter(Phase::Work);
        seated
    };
    let greedy = [take(0, ip(1)), take(1, ip(1)), take(2, ip(1))];
    let mut line: Vec<_> = greedy.iter().map(Seated::line_up).collect();
    assert_eq!(line.pop().unwrap().unwrap_err(), TooManyWait::OfAddress(2));
    assert_eq!(greedy[2].state.lock().phase, Phase::Work, "it is answered");
    line.remove(0).unwrap();
    assert_eq!(greedy[0].state.lock().phase, Phase::Work, "its turn has come");
    line.push(greedy[0].line_up());

    let local = IpAddr::from([127, 0, 0, 1]);
    let others: Vec<_> = (3..9).map(|id| take(id, local)).collect();
    line.extend(others.iter().map(Seated::line_up));
    assert!(
        line.iter().all(Result::is_ok),
        "this machine has no share of its own"
    );
    assert_eq!(seats.in_line(), 8);
    let local_too = take(9, local);
    assert_eq!(local_too.line_up().unwrap_err(), TooManyWait::OfAll(8));
    let newcomer = take(10, ip(2));
    line.push(newcomer.line_up());
    assert!(line.last().unwrap().is_ok());
    assert_eq!(closed(&others[0]), Some(Closed::Evicted));
    assert_eq!(seats.in_line(), 8);

    // All seats are taken; those in line are evicted, and none that is worked on is.
    let rest: Vec<_> = (11..17u8).map(|id| take(id.into(), ip(id))).collect();
    let more: Vec<_> = (20..24u8).map(|id| take(id.into(), ip(id))).collect();
    assert_eq!(seats.in_line(), 4);
    let at_work = rest.iter().chain(&more).chain([&greedy[2], &local_too]);
    assert!(at_work.into_iter().all(|seated| closed(seated).is_none()));
}

#[test]
fn a_turn_that_comes_after_its_call_has_timed_out_changes_nothing() {
    let (seats, now) = (seats(small()), Instant::now());
    let seated = seats.take(0, ip(1), now).unwrap();
    seated.enter(Phase::Work);
    let late = seated.line_up().unwrap();
    seated.enter(Phase::Idle);
    drop(late);
    assert_eq!(seated.state.lock().phase, Phase::Idle);
    let none = seated.line_up().unwrap();
    assert_eq!(seated.state.lock().phase, Phase::Idle, "no call is in work");
    drop(none);
    assert!(seated.upgrade());
    let _in_line = seated.line_up().unwrap();
    assert_eq!(seated.state.lock().phase, Phase::Session);
}
