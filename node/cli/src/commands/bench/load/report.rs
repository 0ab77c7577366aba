//! The figures of `bench load`, as text and as JSON.

use serde_json::json;
use vibecoin_loadgen::{Report, Supply, Usage};

use super::LoadArgs;
use crate::exit::Exit;
use crate::figures::{cores, rounded};
use crate::output::Answer;

/// All measurements of a load.
pub struct Facts<'a> {
    pub args: &'a LoadArgs,
    pub load: Report,
    /// Processor time of the node; `None` when it does not run on this machine.
    pub cpu: Option<Usage>,
    pub supply: Supply,
    /// Maximum number of transactions of a block.
    pub block_transactions_max: u32,
}

/// Summarises the measurements. Exit 8 when balances do not add up.
pub fn answer(facts: &Facts<'_>) -> Answer {
    let Facts {
        args,
        load,
        cpu,
        supply,
        block_transactions_max,
    } = facts;
    let blocks = &load.blocks;
    let moved = load.balances();
    let taken = load.outcome.taken;
    let per_transfer = |nanos: u64| rounded(nanos as f64 / 1e3 / taken.max(1) as f64);
    let stages = cpu.as_ref().map(|usage| {
        usage
            .threads
            .iter()
            .map(|(name, nanos)| (name.clone(), json!(per_transfer(*nanos))))
            .collect::<serde_json::Map<_, _>>()
    });
    let wall = load.wall.as_secs_f64();
    let rate = taken as f64 / wall.max(1e-9);
    let holds = supply.holds && moved.is_ok();
    let fill_percent =
        |transfers: f64| rounded(transfers * 100.0 / f64::from((*block_transactions_max).max(1)));
    let json = json!({
        "bench": "load",
        "cores": cores(),
        "accounts": args.accounts,
        "transactions": args.transactions,
        "batch": args.batch,
        "connections": args.connections,
        "taken": taken,
        "final": taken,
        "rejected": load.outcome.rejected,
        "retried": load.outcome.retried,
        "transfersPerSecond": rounded(rate),
        "wallSeconds": rounded(wall),
        "submitSeconds": rounded(load.sending.as_secs_f64()),
        "signSecondsNotCounted": rounded(load.signing.as_secs_f64()),
        "nodeCpuSeconds": cpu.as_ref().map(|usage| rounded(usage.total() as f64 / 1e9)),
        "cpuUsPerTransfer": cpu.as_ref().map(|usage| per_transfer(usage.total())),
        "cpuUsPerTransferByThread": stages,
        "blocks": blocks.count,
        "blockTimeMs": { "p50": blocks.time_p50_ms, "p99": blocks.time_p99_ms, "max": blocks.time_max_ms },
        "transfersPerBlock": { "mean": rounded(blocks.fill_mean), "max": blocks.fill_max },
        "fillPercent": { "mean": fill_percent(blocks.fill_mean), "max": fill_percent(blocks.fill_max as f64) },
        "supply": {
            "height": supply.height,
            "sumOfBalances": supply.sum_of_balances.to_string(),
            "burned": supply.burned,
            "genesis": supply.genesis,
        },
        "balancesAddUp": holds,
        "problem": moved.err(),
    });
    let text = format!(
        "{taken} transfers final in {wall:.2} s: {rate:.0} transfers/s\n\
         node CPU per transfer: {}\n\
         blocks: {}, time p50 {} ms, p99 {} ms, max {} ms; {:.0} transfers each\n\
         rejected: {}\nbalances add up: {}\n",
        cpu.as_ref().map_or_else(
            || "not known".to_owned(),
            |usage| format!("{} us", per_transfer(usage.total()))
        ),
        blocks.count,
        blocks.time_p50_ms,
        blocks.time_p99_ms,
        blocks.time_max_ms,
        blocks.fill_mean,
        serde_json::to_string(&load.outcome.rejected).unwrap_or_default(),
        if holds { "yes" } else { "NO" },
    );
    let answer = Answer::new(json).text(text);
    if holds {
        answer
    } else {
        answer.exit(Exit::VerificationFailed)
    }
}
