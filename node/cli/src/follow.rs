//! Events of a node, printed as they arrive.

use clap::Args;
use serde_json::Value;
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::methods::SubscriptionApiClient as _;
use vibecoin_rpc_api::views::{SubscriptionEvent, Topic, TopicParams};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::numbers::{number, whole};
use crate::output::{self, Answer, Format, cell, message};

/// How long to follow.
#[derive(Args, Debug)]
pub struct Follow {
    /// Start with this height, without a gap [default: the next block]
    #[arg(long, value_name = "HEIGHT", allow_negative_numbers = true, value_parser = number)]
    from_height: Option<u64>,
    /// Stop after so many events
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    count: Option<u64>,
}

/// Prints events as they arrive: one JSON value per line, or with `-o json` all of them in one list.
pub fn follow(
    context: &Context,
    topic: Topic,
    params: Option<TopicParams>,
    follow: &Follow,
) -> Result<Answer, CliError> {
    let format = context.globals.output;
    if format == Format::Json && follow.count.is_none() {
        return Err(CliError::usage("a stream without end is not one JSON value")
            .hint("give --count N, or use -o ndjson"));
    }
    context.wait(async {
        let client = context.websocket().await?;
        let mut events = client.follow(topic, params, follow.from_height.map(U64)).await?;
        let mut is_first = true;
        let mut seen = Vec::new();
        let mut left = follow.count.unwrap_or(u64::MAX);
        while left > 0 {
            context.expect_next(awaited(topic), is_first);
            is_first = false;
            let event = match events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    return Err(CliError::new(
                        Exit::Failure,
                        message(&format!("the node's event cannot be read: {error}")),
                    ));
                }
                None => return Err(CliError::new(Exit::CannotConnect, "the node went away")),
            };
            if let Some(reason) = &event.closed {
                return Err(closed(&event, reason));
            }
            left = left.saturating_sub(1);
            let read = match format {
                Format::Json => {
                    seen.push(json(&event));
                    true
                }
                Format::Ndjson => output::stream(&format!("{}\n", json(&event)))?,
                Format::Text => output::stream(&line(&event))?,
            };
            if !read {
                break;
            }
        }
        Ok(if format == Format::Json {
            Answer::new(seen)
        } else {
            Answer::printed()
        })
    })
}

/// Next event of the node, for reports of a silent stream.
const fn awaited(topic: Topic) -> &'static str {
    match topic {
        Topic::Blocks | Topic::Headers => "has the next block",
        Topic::Account => "has a change of this account",
        Topic::Transactions => "has the next transaction",
    }
}

fn closed(event: &SubscriptionEvent, reason: &str) -> CliError {
    let hint = event
        .resume_from
        .map(|height| format!("go on with --from-height {height}"));
    // A stopping node counts as disconnected.
    let exit = if reason == "shutdown" {
        Exit::CannotConnect
    } else {
        Exit::Failure
    };
    let error = CliError::new(
        exit,
        format!("the node closed the subscription: {}", cell(reason)),
    )
    .reason(format!("subscription_{}", cell(reason)))
    .data(json(event));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn json(event: &SubscriptionEvent) -> Value {
    serde_json::to_value(event).unwrap_or(Value::Null)
}

/// An event as one line of text.
fn line(event: &SubscriptionEvent) -> String {
    let data = event.data.as_ref().map(|data| data.get()).unwrap_or_default();
    let data: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let field = |name: &str| {
        data.get(name)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let mut text = format!("{:>10}", event.height.0);
    for name in ["hash", "txCount", "timestampMs"] {
        if let Some(value) = field(name) {
            text.push_str(&format!("  {}", cell(&value)));
        }
    }
    if event.topic == Topic::Account || event.topic == Topic::Transactions {
        text.push_str(&format!("  {data}"));
    }
    text.push('\n');
    text
}
