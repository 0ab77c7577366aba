//! The pool's charge for transactions compared with the memory allocated for them.
#![allow(unsafe_code, clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{GENESIS, account, params};
use vibecoin_mempool::memory::{DEPARTURE_BYTES, READERS_BYTES, block};
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_primitives::{
    Address, Amount, Hash, Height, Nonce, Operation, SecretKey, Transaction, TransactionBody,
};

/// Bytes allocated, with the allocator's header and rounding.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed to the system's allocator with the caller's arguments unchanged, so the contract
// that the caller keeps is the one that it needs. The counter neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(block(layout.size()), Ordering::Relaxed);
        // SAFETY: see the impl.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(block(layout.size()), Ordering::Relaxed);
        // SAFETY: see the impl.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(block(size), Ordering::Relaxed);
        HELD.fetch_sub(block(layout.size()), Ordering::Relaxed);
        // SAFETY: see the impl.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Number of transactions offered at a time.
const CHUNK: usize = 500;

fn sign(sender: u64, nonce: u64, fee: u64, operations: &[Operation]) -> Transaction {
    let mut seed = [3; 32];
    seed.split_at_mut(8).0.copy_from_slice(&sender.to_le_bytes());
    let key = SecretKey::from_seed(&seed);
    let body = TransactionBody {
        chain: GENESIS.prefix(),
        sender: key.public_key(),
        nonce: Nonce(nonce),
        fee: Amount(fee),
        valid_until: Height(1_000),
        operations: operations.to_vec(),
    };
    body.sign(&GENESIS, &key)
}

/// Fills a pool with transactions of these operations, of `senders` accounts in turns, until `count_max` are
/// in it or its bound in bytes holds; then adds an eighth as many that pay more, so that all lists have been
/// used. Checks that the memory held is up to a tenth above, and not less than two fifths of, the charge.
fn check(name: &str, count_max: usize, senders: u64, operations: &[Operation]) {
    let config = MempoolConfig {
        count_max,
        ..MempoolConfig::default()
    };
    let before = held();
    let mut pool = Mempool::new(config, Arc::new(params()));
    let rich = account(0, u64::MAX / 2);
    let mut offer = |first_sender: u64, count: u64, fee: u64| {
        for from in (0..count).step_by(CHUNK) {
            let numbers = from..count.min(from + CHUNK as u64);
            let made =
                numbers.map(|at| sign(first_sender + at % senders, at / senders, fee + at, operations));
            let verified = Transaction::verify_batch(made.collect(), &GENESIS).into_iter();
            let offered = verified.map(|one| pool.insert(Arc::new(one.unwrap()), Some(&rich), Height(1), 0));
            if offered.filter(Result::is_ok).count() == 0 {
                return;
            }
        }
    };
    offer(0, count_max as u64 + CHUNK as u64, 10_000);
    // From other senders, at a higher price: tails are evicted, so that all lists have been used.
    offer(senders, 6 * CHUNK as u64, 1_000_000_000);
    let stats = pool.stats();
    let departed = pool.departures_since(0).0.len();
    let accounted = stats.bytes - stats.count * READERS_BYTES + departed * DEPARTURE_BYTES;
    let real = held() - before;
    let full = stats.count == count_max || stats.bytes > config.bytes_max - config.bytes_max / 50;
    assert!(full, "{name}: {stats:?}");
    assert!(stats.bytes <= config.bytes_max, "{name}: {stats:?}");
    let figures = format!("{name}: {real} bytes are held, {accounted} are accounted: {stats:?}");
    assert!(real <= accounted + accounted / 10, "{figures}");
    // With few senders each shares its row, which is charged to each transaction.
    assert!(real >= accounted / 5 * 2, "{figures}");
    drop(pool);
    // Threads that check signatures keep some memory.
    let behind = held().saturating_sub(before);
    assert!(behind <= 64 * 1024, "{name}: {behind} bytes stay behind");
}

/// One test: the counter sees all threads.
#[test]
fn a_full_pool_holds_what_it_accounts_for_whatever_it_is_full_of() {
    let transfer = Operation::Transfer {
        to: Address([1; 32]),
        amount: Amount(1),
    };
    let slot = |bytes| Operation::SetStorage {
        slot: Hash([9; 32]),
        value: vec![7; bytes],
    };
    let smallest = [slot(0)];
    check("the smallest, each of another sender", 50_000, 50_000, &smallest);
    check("the smallest, of a few senders", 50_000, 16, &smallest);
    check("the largest", 50_000, 500, &vec![slot(4_096); 15]);
    check("many slots of one byte", 50_000, 500, &vec![slot(1); 64]);
    check("many transfers", 50_000, 500, &vec![transfer; 64]);
    // Just after the maps grew.
    check("few more than a power of two", 29_000, 29_000, &smallest);
}
