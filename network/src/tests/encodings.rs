//! Bounds of hellos and frames, numbers of copies.

use super::*;

#[test]
fn a_hello_over_its_bounds_is_seen() {
    let hello = |agent: &str, addresses: usize| Hello {
        version: 1,
        genesis: GENESIS,
        head: Height(1),
        agent: agent.to_owned(),
        run: 7,
        proof: Some(ValidatorProof {
            key: PublicKey([1; 32]),
            signature: Signature([2; 64]),
        }),
        addresses: vec!["/ip4/1.2.3.4/tcp/5".to_owned(); addresses],
        others: Vec::new(),
    };
    let good = hello("agent", 32);
    assert!(good.is_bounded());
    assert_eq!(decode::<Hello>(&encode(&good)), Ok(good));
    assert!(!hello("agent", 33).is_bounded());
    assert!(!hello(&"a".repeat(65), 1).is_bounded());
    assert!(decode::<Hello>(&vec![0; Hello::BYTES_MAX + 1]).is_err());
}

/// Reads frames from bytes as the lanes do from a stream.
fn frames(bytes: &[u8], lane: Lane) -> (usize, Option<std::io::ErrorKind>) {
    let mut rest = futures_util::io::Cursor::new(bytes);
    let mut count = 0usize;
    loop {
        let read = crate::lanes::read_frame(&mut rest, lane.frame_bytes_max());
        match futures_util::FutureExt::now_or_never(read) {
            Some(Ok(frame)) => {
                let _ = Envelope::new(&GENESIS).open(&frame);
                count = count.saturating_add(1);
            }
            Some(Err(error)) => return (count, Some(error.kind())),
            None => return (count, None),
        }
    }
}

#[test]
fn a_frame_that_says_it_is_too_long_is_a_fault_before_any_of_it_has_come() {
    let max = u32::try_from(Lane::Parts.frame_bytes_max()).unwrap();
    let fault = |len: u32| frames(&len.to_le_bytes(), Lane::Parts).1;
    assert_eq!(fault(max + 1), Some(std::io::ErrorKind::InvalidData));
    assert_eq!(fault(max), Some(std::io::ErrorKind::UnexpectedEof));
    assert_eq!(fault(u32::MAX), Some(std::io::ErrorKind::InvalidData));
}

#[test]
fn the_first_copy_has_number_zero_and_nobody_knows_the_numbers_of_the_next_ones() {
    let now = tokio::time::Instant::now();
    let of = |copies: &mut crate::copies::Copies| -> Vec<u16> {
        (0..9).filter_map(|_| copies.next(b"vote", now)).collect()
    };
    let (mut one, mut other) = (crate::copies::Copies::default(), crate::copies::Copies::default());
    let (ours, theirs) = (of(&mut one), of(&mut other));
    assert_eq!((ours[0], theirs[0]), (0, 0));
    assert_ne!(ours[1..], theirs[1..]);
    let different: std::collections::HashSet<u16> = ours.iter().copied().collect();
    assert!(different.len() > 5, "{ours:?}");
    assert_eq!(one.next(b"another", now), Some(0));
}

#[test]
fn nothing_makes_a_node_publish_a_message_as_often_as_others_would_ban_it_for() {
    let (mut copies, start) = (crate::copies::Copies::default(), tokio::time::Instant::now());
    let in_a_second = |copies: &mut crate::copies::Copies, second: u64| {
        let at = |n: u64| start + Duration::from_secs(second) + Duration::from_micros(n * 100);
        (0..10_000)
            .filter(|n| copies.next(b"piece", at(*n)).is_some())
            .count()
    };
    let published: Vec<usize> = (0..3).map(|second| in_a_second(&mut copies, second)).collect();
    assert!((16..=27).contains(&published[0]), "{published:?}");
    assert!(
        published[1..].iter().all(|count| (9..=11).contains(count)),
        "{published:?}"
    );
}

proptest! {
    #[test]
    fn foreign_bytes_are_frames_or_an_error_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (count, fault) = frames(&bytes, Lane::Direct);
        prop_assert!(count <= bytes.len() / 4);
        prop_assert!(fault.is_some());
    }

    #[test]
    fn foreign_bytes_are_a_hello_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(hello) = decode::<Hello>(&bytes) {
            prop_assert_eq!(encode(&hello), bytes);
        }
    }

    #[test]
    fn a_damaged_hello_never_reads_as_another_chain_by_accident_of_length(cut in 0usize..200, flip in 0usize..200) {
        let hello = Hello {
            version: 1,
            genesis: GENESIS,
            head: Height(3),
            agent: "vibecoin".to_owned(),
            run: 7,
            proof: None,
            addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
            others: Vec::new(),
        };
        let mut bytes = encode(&hello);
        let at = flip % bytes.len();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x80;
        }
        bytes.truncate(bytes.len().saturating_sub(cut % 3));
        if let Ok(read) = decode::<Hello>(&bytes) {
            prop_assert_ne!(read, hello);
        }
    }
}
