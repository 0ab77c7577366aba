//! The figures of a load, as text and as JSON.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::send::Outcome;
use super::watch::Heard;
use super::{LoadArgs, NodeRecord, Settled};
use crate::exit::Exit;
use crate::figures::{cores, rounded};
use crate::output::Answer;

/// Resources that a node used during a load.
pub struct NodeCost {
    /// The node.
    pub name: String,
    /// Processor time; `None` when it ended meanwhile.
    pub cpu: Option<Duration>,
    /// Processor time by thread, in nanoseconds.
    pub threads: BTreeMap<String, u64>,
    /// Resident bytes at the start.
    pub memory_start: u64,
    /// Resident bytes at the end.
    pub memory_end: u64,
    /// Maximum resident bytes observed.
    pub memory_max: u64,
}

/// All measurements of a load.
pub struct Facts<'a> {
    pub args: &'a LoadArgs,
    pub nodes: &'a [NodeRecord],
    pub outcome: Outcome,
    pub begun: Instant,
    pub sending: Duration,
    pub settled: Settled,
    pub blocks: BTreeMap<u64, Heard>,
    pub latencies: Vec<Duration>,
    pub samples_lost: usize,
    pub costs: Vec<NodeCost>,
    /// Processor time of this program: it shares the machine with the nodes.
    pub own_cpu: Duration,
}

/// The value below which `percent` percent of the values are.
fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let index = sorted
        .len()
        .saturating_mul(percent)
        .div_ceil(100)
        .saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Summarises the measurements.
pub fn answer(facts: Facts<'_>) -> Answer {
    let Facts {
        args,
        nodes,
        outcome,
        begun,
        sending,
        settled,
        blocks,
        latencies,
        samples_lost,
        costs,
        own_cpu,
    } = facts;
    let full: Vec<(&u64, &Heard)> = blocks
        .iter()
        .filter(|(_, block)| block.transactions > 0)
        .collect();
    let last = full.last().map_or(begun, |(_, block)| block.at);
    let wall = last.saturating_duration_since(begun).as_secs_f64();
    let rate = if wall > 0.0 {
        settled.included as f64 / wall
    } else {
        0.0
    };
    // Between consecutive heights only: a pause without transfers is not a block time.
    let mut times: Vec<u64> = full
        .iter()
        .zip(full.iter().skip(1))
        .filter(|((one, _), (next, _))| one.checked_add(1) == Some(**next))
        .map(|((_, one), (_, next))| next.time_ms.saturating_sub(one.time_ms))
        .collect();
    times.sort_unstable();
    let fill_max = full
        .iter()
        .map(|(_, block)| block.transactions)
        .max()
        .unwrap_or(0);
    let fill_sum: u64 = full.iter().map(|(_, block)| block.transactions).sum();
    let fill_mean = fill_sum as f64 / full.len().max(1) as f64;
    let late_rounds = full.iter().filter(|(_, block)| block.round > 0).count();
    let at = |percent| ms(percentile(&latencies, percent));
    let longest = ms(latencies.last().copied().unwrap_or_default());
    let rejected: u64 = outcome.rejected.values().sum();
    let per_transfer = |time: Duration| rounded(time.as_secs_f64() * 1e6 / settled.included.max(1) as f64);
    let cpu_all: Duration = costs.iter().filter_map(|cost| cost.cpu).sum();
    let cost_json: Vec<Value> = costs
        .iter()
        .map(|cost| {
            let threads: BTreeMap<&String, f64> = cost
                .threads
                .iter()
                .map(|(name, nanos)| (name, per_transfer(Duration::from_nanos(*nanos))))
                .collect();
            json!({
                "node": cost.name,
                "cpuSeconds": cost.cpu.map(|cpu| rounded(cpu.as_secs_f64())),
                "cpuUsPerTransfer": cost.cpu.map(per_transfer),
                "cpuUsPerTransferByThread": threads,
                "residentBytes": {
                    "start": cost.memory_start, "end": cost.memory_end, "max": cost.memory_max,
                },
            })
        })
        .collect();
    let json = json!({
        "cores": cores(),
        "nodes": nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        "tps": args.tps,
        "accounts": args.accounts,
        "secs": args.secs,
        "inFlightMax": args.in_flight,
        "sent": outcome.taken,
        "included": settled.included,
        "allFinal": settled.all,
        "rejected": outcome.rejected,
        "retried": outcome.retried,
        "requestsUnanswered": outcome.unanswered,
        "givenUp": outcome.given_up,
        "transfersPerSecond": rounded(rate),
        "wallSeconds": rounded(wall),
        "sendSeconds": rounded(sending.as_secs_f64()),
        "finalMs": {
            "samples": latencies.len(), "lost": samples_lost,
            "p50": at(50), "p95": at(95), "p99": at(99), "max": longest,
        },
        "blocks": full.len(),
        "blocksOfLaterRounds": late_rounds,
        "blockTimeMs": {
            "p50": percentile(&times, 50), "p99": percentile(&times, 99), "max": percentile(&times, 100),
        },
        "transfersPerBlock": { "mean": rounded(fill_mean), "max": fill_max },
        "cpuSeconds": rounded(cpu_all.as_secs_f64()),
        "cpuUsPerTransfer": per_transfer(cpu_all),
        "senderCpuSeconds": rounded(own_cpu.as_secs_f64()),
        "cost": cost_json,
    });
    let mut text = format!(
        "sent {}, final {}, rejected {rejected}{}\n\
         {rate:.0} transfers/s until final, over {wall:.2} s\n\
         sent to one node, final on the next: p50 {} ms, p95 {} ms, p99 {} ms, max {longest} ms ({} samples)\n\
         blocks: {}, time p50 {} ms, p99 {} ms; {fill_mean:.0} transfers each, at most {fill_max}; {late_rounds} needed another round\n\
         CPU of all nodes: {:.2} s, {} us per transfer; of this program: {:.2} s\n",
        outcome.taken,
        settled.included,
        if outcome.rejected.is_empty() {
            String::new()
        } else {
            format!(" {:?}", outcome.rejected)
        },
        at(50),
        at(95),
        at(99),
        latencies.len(),
        full.len(),
        percentile(&times, 50),
        percentile(&times, 99),
        cpu_all.as_secs_f64(),
        per_transfer(cpu_all),
        own_cpu.as_secs_f64(),
    );
    for cost in &costs {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        text.push_str(&format!(
            "  {:<13} {:>8} s CPU, {:>7} us per transfer, memory {} to {} MiB, at most {}\n",
            cost.name,
            cost.cpu
                .map_or_else(|| "-".to_owned(), |cpu| format!("{:.2}", cpu.as_secs_f64())),
            cost.cpu
                .map_or_else(|| "-".to_owned(), |cpu| per_transfer(cpu).to_string()),
            mib(cost.memory_start),
            mib(cost.memory_end),
            mib(cost.memory_max),
        ));
    }
    let answer = Answer::new(json).text(text);
    if settled.all && samples_lost == 0 {
        answer
    } else {
        crate::output::note("not every transfer that was taken became final in time");
        answer.exit(Exit::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (
                percentile(&values, 50),
                percentile(&values, 99),
                percentile(&values, 100)
            ),
            (100, 198, 200)
        );
        assert_eq!(percentile(&[7u64], 50), 7);
        assert_eq!(percentile::<u64>(&[], 99), 0);
    }
}
