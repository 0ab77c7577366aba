//! Rules of one listener: the methods that it serves, and the prices that callers pay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonrpsee::server::StopHandle;
use vibecoin_rpc_api::registry::{self, Method};
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;
use vibecoin_rpc_api::{ApiError, Code};
use vibecoin_rpc_backend::Caller;

use super::refused::Refused;
use crate::building::BUILT_AT_ONCE_MAX;
use crate::config::{Config, Rate};
use crate::host::{Hosts, Origins};
use crate::listener::DISCARDED_BYTES_MAX;
use crate::rate::{Exhausted, RateLimiter};
use crate::seats::{Limits, Seats};
use crate::settling::Settling;
use crate::work::Work;

/// Bytes of an answer that a unit of the caller's budget pays for.
const ANSWER_BYTES_PER_UNIT: usize = 1024;
/// Bytes of a message that a unit covers; those of the first unit are free.
pub(super) const REQUEST_BYTES_PER_UNIT: usize = 4096;
/// Units for an answer without a call: to a notification, an invalid entry, or an unknown method.
pub(crate) const REFUSED_COST: u32 = 1;
/// Budget of an address on the operator's listener without the token: for mistakes of an operator.
const UNAUTHENTICATED_RATE: Rate = Rate {
    per_second: 10,
    burst: 100,
};
/// Messages of either size with turns that are read at the same time: one leaves a thread, or a core, to the calls of
/// others.
const READ_AT_ONCE_MAX: usize = 1;

/// State shared by all connections.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) limiter: Option<RateLimiter>,
    /// Budgets of callers of the operator's listener without the token.
    unauthenticated: Option<RateLimiter>,
    /// Turns to build answers that can be large.
    pub(crate) building: Work,
    /// Turns to read messages above [`super::READ_AT_ONCE_BYTES_MAX`].
    pub(super) reading: Work,
    /// Turns to read messages above [`super::READ_HERE_BYTES_MAX`].
    pub(super) reading_large: Work,
    /// Transactions that calls wait for.
    pub(crate) settling: Settling,
    /// The connections of this listener.
    pub(crate) seats: Arc<Seats>,
    pub(crate) hosts: Hosts,
    pub(crate) origins: Origins,
    /// True if `dev_*` methods exist.
    pub(crate) dev: bool,
    /// Reports the stop of the server.
    pub(crate) stop: StopHandle,
    /// The methods of this listener.
    table: &'static [Method],
}

impl Rules {
    pub(crate) fn new(config: Arc<Config>, dev: bool, stop: StopHandle) -> Self {
        let limiter = config.rate.map(RateLimiter::new);
        let seats = Seats::new(Limits::of(&config), Arc::clone(&config.metrics));
        Self {
            hosts: Hosts::new(&config),
            origins: Origins::new(&config),
            building: Work::new(BUILT_AT_ONCE_MAX),
            reading: Work::new(READ_AT_ONCE_MAX),
            reading_large: Work::new(READ_AT_ONCE_MAX),
            settling: Settling::default(),
            config,
            limiter,
            unauthenticated: None,
            seats,
            dev,
            stop,
            table: registry::METHODS,
        }
    }

    /// The rules of the admin listener.
    pub(crate) fn admin(config: Arc<Config>, stop: StopHandle) -> Self {
        Self {
            table: registry::ADMIN_METHODS,
            unauthenticated: Some(RateLimiter::new(UNAUTHENTICATED_RATE)),
            ..Self::new(config, false, stop)
        }
    }

    /// Returns true if this listener answers to the method.
    pub(crate) fn serves(&self, method: &str) -> bool {
        self.config.serves(method) && (self.dev || !method.starts_with("dev_"))
    }

    pub(super) fn method(&self, name: &str) -> Result<&'static Method, ApiError> {
        registry::find_in(self.table, name)
            .filter(|method| self.serves(method.name))
            .ok_or_else(|| {
                let shown: String = name.chars().take(64).collect();
                ApiError::new(
                    Code::MethodNotFound,
                    format!("there is no method `{shown}`; see rpc_getMethods"),
                )
                .with("method", shown)
            })
    }

    /// Returns the limiter, if calls of `peer` are limited.
    pub(crate) fn limits(&self, peer: IpAddr) -> Option<&RateLimiter> {
        let exempt = self.config.rate_exempts_loopback && peer.to_canonical().is_loopback();
        self.limiter.as_ref().filter(|_| !exempt)
    }

    /// Charges for the bytes of an answer beyond the price of its method: a unit covers 1 KiB.
    pub(crate) fn charge_answer(&self, caller: Caller, method: &Method, bytes: usize) {
        let units = u32::try_from(bytes / ANSWER_BYTES_PER_UNIT).unwrap_or(u32::MAX);
        self.charge(caller, units.saturating_sub(method.cost));
    }

    /// Charges for an answer that is no call's: a unit, and one for each KiB.
    pub(crate) fn charge_page(&self, caller: Caller, bytes: usize) {
        let units = u32::try_from(bytes / ANSWER_BYTES_PER_UNIT).unwrap_or(u32::MAX);
        self.charge(caller, units.saturating_add(REFUSED_COST));
    }

    /// Charges a caller of the operator's listener without the token, and returns true if it has used up its
    /// budget. This budget is separate: the operator, who may call from the same address, is answered regardless.
    pub(crate) fn charge_unauthenticated(&self, peer: IpAddr) -> bool {
        if self.config.rate_exempts_loopback && peer.to_canonical().is_loopback() {
            return false;
        }
        let limiter = self.unauthenticated.as_ref();
        limiter.is_some_and(|limiter| limiter.take(peer, REFUSED_COST, Instant::now()).is_err())
    }

    /// Takes the price of `bytes` of a message, less what is `paid` for it: the budget is checked before a
    /// large message is read.
    pub(crate) fn pay_message(&self, caller: Caller, paid: &mut Paid, bytes: usize) -> Result<(), Refused> {
        let units = message_units(bytes);
        let missing = units.saturating_sub(paid.0);
        if let Some(address) = caller.address.filter(|_| missing > 0) {
            self.pay(address, missing)?;
            paid.0 = units;
        }
        Ok(())
    }

    /// Charges for bytes that were read and discarded. Refusing costs a unit in any case: a caller that
    /// continues after it has been refused goes deeper into debt.
    pub(crate) fn charge_discarded(&self, caller: Caller, bytes: usize) {
        self.charge(caller, message_units(bytes).saturating_add(1));
    }

    /// Returns the number of bytes that are read and discarded, so that the caller can read its
    /// answer.
    pub(crate) fn discards_max(&self, peer: IpAddr) -> usize {
        if self.is_deep_in_debt(peer) {
            0
        } else {
            DISCARDED_BYTES_MAX
        }
    }

    /// Returns true if `peer` continued after it had been refused, and owes for it.
    pub(crate) fn is_deep_in_debt(&self, peer: IpAddr) -> bool {
        self.deep_debt(peer).is_some()
    }

    /// Returns the answer to a connection of a caller that is deep in debt, of which nothing is read. Charges for it
    /// and counts it.
    pub(crate) fn refuse_connection(&self, peer: IpAddr) -> Option<String> {
        let wait = self.deep_debt(peer)?;
        self.limits(peer)?.charge(peer, 1, Instant::now());
        self.config.metrics.debtors.inc();
        Some(Refused::for_debt(wait).before_a_seat())
    }

    fn deep_debt(&self, peer: IpAddr) -> Option<Exhausted> {
        self.limits(peer)?.deep_debt(peer, Instant::now())
    }

    /// Returns the time for which an answer to `peer` without budget is held back.
    pub(super) fn pause(&self, peer: IpAddr) -> Duration {
        let repeats = |limiter: &RateLimiter| limiter.repeats(peer);
        if self.limits(peer).is_some_and(repeats) {
            self.config.refused_pause
        } else {
            Duration::ZERO
        }
    }

    /// Charges for costs that are known only after a call was admitted.
    pub(crate) fn charge(&self, caller: Caller, units: u32) {
        if let Some(address) = caller.address.filter(|_| units > 0)
            && let Some(limiter) = self.limits(address)
        {
            limiter.charge(address, units, Instant::now());
        }
    }

    /// Refuses a caller that is in debt from such charges.
    pub(crate) fn solvent(&self, caller: Caller) -> Result<(), Refused> {
        caller.address.map_or(Ok(()), |address| self.pay(address, 0))
    }

    pub(super) fn pay(&self, peer: IpAddr, cost: u32) -> Result<(), Refused> {
        let Some(limiter) = self.limits(peer) else {
            return Ok(());
        };
        limiter
            .take(peer, cost, Instant::now())
            .map_err(Refused::for_debt)
    }

    pub(super) fn time_limit(&self, method: &Method) -> Duration {
        if method.waits {
            self.longest_time_limit()
        } else {
            self.config.call_timeout
        }
    }

    /// The limit of a call that waits, and of a whole batch.
    pub(super) fn longest_time_limit(&self) -> Duration {
        self.config
            .call_timeout
            .saturating_add(Duration::from_millis(TIMEOUT_MS_MAX))
    }
}

/// Units that are paid for the bytes of one message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paid(u32);

fn message_units(bytes: usize) -> u32 {
    u32::try_from(bytes / REQUEST_BYTES_PER_UNIT).unwrap_or(u32::MAX)
}
