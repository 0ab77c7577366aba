//! One chain in plain registers.

use super::Hash;
use super::words::{Group, INITIAL, SCHEDULE};

pub(super) const LANES: usize = 1;
type Vector = u32;

fn splat(word: u32) -> Vector {
    word
}

fn add(a: Vector, b: Vector) -> Vector {
    a.wrapping_add(b)
}

fn xor(a: Vector, b: Vector) -> Vector {
    a ^ b
}

fn ror16(a: Vector) -> Vector {
    a.rotate_right(16)
}

fn ror12(a: Vector) -> Vector {
    a.rotate_right(12)
}

fn ror8(a: Vector) -> Vector {
    a.rotate_right(8)
}

fn ror7(a: Vector) -> Vector {
    a.rotate_right(7)
}

/// There is one group only, so there are no turns to hold it to.
fn hold(_: &mut [Vector; 16]) {}

transposition!();
walker!(
    /// Hashes one chain `count` times.
    walk, "bmi2", 1: a
);
