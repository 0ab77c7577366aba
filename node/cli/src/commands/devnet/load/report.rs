//! The figures of a load, as text and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use vibecoin_loadgen::{Cost, Report};

use super::{LoadArgs, NodeRecord};
use crate::exit::Exit;
use crate::figures::{cores, rounded};
use crate::output::Answer;

/// All measurements of a load.
pub struct Facts<'a> {
    pub args: &'a LoadArgs,
    pub nodes: &'a [NodeRecord],
    pub load: Report,
    /// Resources that the nodes used.
    pub costs: Vec<Cost>,
    /// Processor time of this program: it shares the machine with the nodes.
    pub own_cpu: Duration,
    /// Remedy for transfers that do not become final.
    pub stalled: Option<&'static str>,
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Summarises the measurements. Exit 6 unless every accepted transfer became final in time.
pub fn answer(facts: &Facts<'_>) -> Answer {
    let load = &facts.load;
    let (answer, text) = (Answer::new(json_of(facts)), text_of(facts));
    if load.settled.all && load.samples.lost == 0 {
        return answer.text(text);
    }
    crate::output::note("not every transfer that was taken became final in time");
    let remedy = facts.stalled.map_or_else(String::new, |hint| format!("{hint}\n"));
    answer.text(text + &remedy).exit(Exit::Timeout)
}

impl Facts<'_> {
    /// The share of one transfer in a time, in microseconds.
    fn per_transfer(&self, time: Duration) -> f64 {
        rounded(time.as_secs_f64() * 1e6 / self.load.settled.included.max(1) as f64)
    }

    /// Processor time of all nodes.
    fn cpu_all(&self) -> Duration {
        self.costs.iter().filter_map(|cost| cost.cpu).sum()
    }
}

fn json_of(facts: &Facts<'_>) -> Value {
    let Facts {
        args, nodes, load, ..
    } = facts;
    let (outcome, samples, blocks) = (&load.outcome, &load.samples, &load.blocks);
    let per_transfer = |time| facts.per_transfer(time);
    let costs: Vec<Value> = facts
        .costs
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
    json!({
        "cores": cores(),
        "nodes": nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        "tps": args.tps,
        "accounts": args.accounts,
        "secs": args.secs,
        "inFlightMax": args.in_flight,
        "sent": outcome.taken,
        "included": load.settled.included,
        "allFinal": load.settled.all,
        "rejected": outcome.rejected,
        "retried": outcome.retried,
        "requestsUnanswered": outcome.unanswered,
        "givenUp": outcome.given_up,
        "transfersPerSecond": rounded(load.rate()),
        "wallSeconds": rounded(load.wall.as_secs_f64()),
        "sendSeconds": rounded(load.sending.as_secs_f64()),
        "finalMs": {
            "samples": samples.count, "lost": samples.lost,
            "p50": ms(samples.p50), "p95": ms(samples.p95), "p99": ms(samples.p99), "max": ms(samples.max),
        },
        "blocks": blocks.count,
        "blocksOfLaterRounds": blocks.later_rounds,
        "blockTimeMs": { "p50": blocks.time_p50_ms, "p99": blocks.time_p99_ms, "max": blocks.time_max_ms },
        "transfersPerBlock": { "mean": rounded(blocks.fill_mean), "max": blocks.fill_max },
        "cpuSeconds": rounded(facts.cpu_all().as_secs_f64()),
        "cpuUsPerTransfer": per_transfer(facts.cpu_all()),
        "senderCpuSeconds": rounded(facts.own_cpu.as_secs_f64()),
        "cost": costs,
    })
}

fn text_of(facts: &Facts<'_>) -> String {
    let load = &facts.load;
    let (outcome, samples, blocks) = (&load.outcome, &load.samples, &load.blocks);
    let rejected: u64 = outcome.rejected.values().sum();
    let mut text = format!(
        "sent {}, final {}, rejected {rejected}{}\n\
         {:.0} transfers/s until final, over {:.2} s\n\
         sent to one node, final on the next: p50 {} ms, p95 {} ms, p99 {} ms, max {} ms ({} samples)\n\
         blocks: {}, time p50 {} ms, p99 {} ms; {:.0} transfers each, at most {}; {} needed another round\n\
         CPU of all nodes: {:.2} s, {} us per transfer; of this program: {:.2} s\n",
        outcome.taken,
        load.settled.included,
        if outcome.rejected.is_empty() {
            String::new()
        } else {
            format!(" {:?}", outcome.rejected)
        },
        load.rate(),
        load.wall.as_secs_f64(),
        ms(samples.p50),
        ms(samples.p95),
        ms(samples.p99),
        ms(samples.max),
        samples.count,
        blocks.count,
        blocks.time_p50_ms,
        blocks.time_p99_ms,
        blocks.fill_mean,
        blocks.fill_max,
        blocks.later_rounds,
        facts.cpu_all().as_secs_f64(),
        facts.per_transfer(facts.cpu_all()),
        facts.own_cpu.as_secs_f64(),
    );
    for cost in &facts.costs {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        text.push_str(&format!(
            "  {:<13} {:>8} s CPU, {:>7} us per transfer, memory {} to {} MiB, at most {}\n",
            cost.name,
            cost.cpu
                .map_or_else(|| "-".to_owned(), |cpu| format!("{:.2}", cpu.as_secs_f64())),
            cost.cpu
                .map_or_else(|| "-".to_owned(), |cpu| facts.per_transfer(cpu).to_string()),
            mib(cost.memory_start),
            mib(cost.memory_end),
            mib(cost.memory_max),
        ));
    }
    text
}
