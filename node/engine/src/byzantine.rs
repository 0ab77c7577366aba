//! A Byzantine validator, for the fault tests only: built only with the feature `byzantine`, which no shipped
//! program has. The behaviours are in `tests/behaviours`, shared with the simulator.

pub use vibecoin_tests_behaviours::{Distorter as Liar, VARIABLE};
