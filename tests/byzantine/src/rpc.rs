//! Hostile clients of the RPC interface (faults 4 and 9, M5): sockets that are silent, slow, or never read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vibecoin_primitives::{Evidence, encode, hex};

use crate::attack::{Attack, Stage};
use crate::link::{connect, until_closed};
use crate::material::Material;

/// Pause of a client that was refused, and of one that sends slowly.
const REST: Duration = Duration::from_secs(1);
/// Subscriptions of one connection.
const SUBSCRIPTIONS: u32 = 24;
/// Requests on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 195;
/// Calls of one batch, and the number of clients of which one sends batches.
const BATCH_CALLS: usize = 10_000;
const BATCHERS_EACH: usize = 100;
/// Transactions of one call.
const BATCH: usize = 100;
/// Time that a call waits for its transactions.
const WAIT_MS: u64 = 5_000;
/// Blocks of one `poh_verify`: the maximum of a call.
const POH_BLOCKS: u32 = 100;
/// Bytes of a message that is a list: the maximum of a message.
const LIST_BYTES: usize = 5 * 1024 * 1024;
/// Pause of a client before it subscribes to all blocks again.
const SCAN: Duration = Duration::from_secs(2);
/// Bytes of answers that the client reads.
const ANSWER_BYTES: u64 = 64 * 1024;
/// Initial bytes of a slow client.
const SLOW_HEAD: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Slow: ";

/// So many clients on every listener, each in an endless loop.
pub async fn run(stage: &Arc<Stage>) {
    let nodes = stage.setting.targets.len();
    let crowd = stage.crowd(nodes, |stage, node, number| async move {
        let (target, source) = (stage.setting.targets[node], stage.source(number));
        loop {
            if let Err(error) = client(&stage, target, source, number).await {
                stage.tally.refused(&error);
                tokio::time::sleep(REST).await;
            }
        }
    });
    crowd.await;
}

async fn client(stage: &Stage, target: SocketAddr, source: Option<IpAddr>, number: usize) -> io::Result<()> {
    let mut stream = connect(target, source).await?;
    stage.tally.connected();
    let begun = Instant::now();
    let mut life = Life {
        stage,
        begun,
        ended: None,
    };
    let ended = match stage.attack {
        Attack::RpcSilent => until_closed(&mut stream).await,
        Attack::RpcSlow => slow(stage, &mut stream).await,
        Attack::RpcPrefaces => prefaces(stage, &mut stream).await,
        Attack::RpcUnread => unread(stage, &mut stream).await,
        Attack::RpcUnmatched => unmatched(stage, &mut stream).await,
        Attack::RpcBatches if !number.is_multiple_of(BATCHERS_EACH) => slow(stage, &mut stream).await,
        _ => again(stage, &mut stream, number).await,
    };
    life.ended = Some(Instant::now());
    drop(life);
    // A client that was refused at once pauses: dialling faster has no advantage.
    tokio::time::sleep(REST.saturating_sub(begun.elapsed())).await;
    ended
}

/// Measures the time for which the server kept a useless client.
struct Life<'a> {
    stage: &'a Stage,
    begun: Instant,
    ended: Option<Instant>,
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.stage.tally.offended(self.begun, self.ended, None);
    }
}

async fn slow(stage: &Stage, stream: &mut TcpStream) -> io::Result<()> {
    for byte in SLOW_HEAD.bytes().chain(std::iter::repeat(b'x')) {
        stream.write_all(&[byte]).await?;
        stage.tally.sent(1, 0);
        let closed = tokio::time::timeout(REST, until_closed(stream)).await;
        if closed.is_ok() {
            return Ok(());
        }
    }
    Ok(())
}

/// A frame of HTTP/2.
fn http2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header that is neither indexed nor compressed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(value.len() as u8);
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// Requests with large answers, over HTTP/2, through windows that never open.
async fn prefaces(stage: &Stage, stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    bytes.extend(http2(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover","params":{}}"#;
    for number in 0..HTTP2_STREAMS {
        let id = number * 2 + 1;
        // POST, http and / are the entries 3, 6 and 4 of the static table.
        let mut head = vec![0x83, 0x86, 0x84];
        head.extend(literal(":authority", "localhost"));
        head.extend(literal("content-type", "application/json"));
        bytes.extend(http2(1, 4, id, &head));
        bytes.extend(http2(0, 1, id, call));
    }
    stream.write_all(&bytes).await?;
    stage.tally.sent(bytes.len() as u64, u64::from(HTTP2_STREAMS));
    until_closed(stream).await
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked text frame; the mask of zeros leaves the text as it is.
fn text(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

async fn subscribe(
    stage: &Stage,
    stream: &mut TcpStream,
    params: impl Fn(u32) -> serde_json::Value,
) -> io::Result<()> {
    let mut bytes = UPGRADE.as_bytes().to_vec();
    for id in 0..SUBSCRIPTIONS {
        let request = serde_json::json!({
            "jsonrpc": "2.0", "id": id, "method": "sub_subscribe", "params": params(id)
        });
        bytes.extend(text(&request.to_string()));
    }
    stream.write_all(&bytes).await?;
    stage.tally.sent(bytes.len() as u64, u64::from(SUBSCRIPTIONS));
    Ok(())
}

async fn unread(stage: &Stage, stream: &mut TcpStream) -> io::Result<()> {
    let params = |_| serde_json::json!({ "topic": "blocks", "fromHeight": "0" });
    subscribe(stage, stream, params).await?;
    // A failed write means that the server has closed. Empty pongs cost it nothing else.
    loop {
        tokio::time::sleep(REST).await;
        stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?;
    }
}

/// A call or batch over HTTP, and the number of calls or transactions in it.
pub struct Request {
    bytes: Vec<u8>,
    count: u64,
}

fn post(body: &str, count: u64) -> Request {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Request {
        bytes: [head.as_bytes(), body.as_bytes()].concat(),
        count,
    }
}

fn call(method: &str, params: &serde_json::Value, count: u64) -> Request {
    let call = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    post(&call.to_string(), count)
}

/// Requests of an attack's clients.
#[must_use]
pub fn requests(attack: Attack, material: &Material) -> Vec<Request> {
    let batches = |options: serde_json::Value| {
        material
            .transactions
            .chunks(BATCH)
            .map(|batch| {
                let raws: Vec<String> = batch.iter().map(|one| hex::encode(&encode(one))).collect();
                call(
                    "tx_submitBatch",
                    &serde_json::json!([raws, options]),
                    raws.len() as u64,
                )
            })
            .collect()
    };
    let pieces = |pieces: &[Evidence]| -> Vec<Request> {
        let raws = pieces.iter().map(|piece| hex::encode(&encode(piece)));
        raws.map(|raw| call("consensus_submitEvidence", &serde_json::json!([raw]), 1))
            .collect()
    };
    match attack {
        Attack::RpcFlood => batches(serde_json::json!({})),
        Attack::RpcWaits => batches(serde_json::json!({ "wait": "final", "timeoutMs": WAIT_MS })),
        Attack::RpcBatches => {
            let calls = vec![r#"{"jsonrpc":"2.0","id":1,"method":"chain_getHead"}"#; BATCH_CALLS];
            vec![post(&format!("[{}]", calls.join(",")), BATCH_CALLS as u64)]
        }
        Attack::RpcPoh => vec![call(
            "poh_verify",
            &serde_json::json!(["1", POH_BLOCKS.to_string()]),
            1,
        )],
        Attack::RpcEvidence => {
            let (good, bad) = (&material.evidence, &material.bad_evidence);
            let mut requests = pieces(&good[..good.len().min(1)]);
            requests.extend(pieces(&bad[..bad.len().min(1)]));
            requests
        }
        Attack::RpcLists => {
            let address = format!("0x{}", "11".repeat(32));
            let lists = [
                ("account_getMany", String::new()),
                ("tx_getStatuses", String::new()),
                ("tx_submitBatch", String::new()),
                ("proof_getAccount", String::new()),
                ("proof_getStorage", format!("\"{address}\",")),
            ];
            let of_nothing = |(method, before): (&str, String)| {
                let head = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[{before}["#);
                let entries = (LIST_BYTES - head.len() - "]]}".len()) / "\"\",".len();
                post(
                    &[head, vec!["\"\""; entries].join(","), "]]}".to_owned()].concat(),
                    1,
                )
            };
            lists.map(of_nothing).into()
        }
        _ => Vec::new(),
    }
}

/// The prepared requests in turns on one connection, from another one on for each client, each sent when the
/// last one was answered.
async fn again(stage: &Stage, stream: &mut TcpStream, number: usize) -> io::Result<()> {
    let requests = &stage.material.requests;
    let first = number.checked_rem(requests.len()).unwrap_or(0);
    let mut answer = vec![0; 64 * 1024];
    for request in requests.iter().cycle().skip(first) {
        stream.write_all(&request.bytes).await?;
        stage.tally.sent(request.bytes.len() as u64, request.count);
        // Any bytes are an answer, or a part of it: the next request follows at once.
        let read = stream.read(&mut answer).await?;
        if read == 0 {
            return Ok(());
        }
        stage.tally.answered(kind_of(&answer[..read]));
    }
    Ok(())
}

/// The reason of the first error in an answer, `result`, or the HTTP status.
fn kind_of(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    if let Some((_, behind)) = text.split_once("\"reason\":\"") {
        return behind.split('"').next().unwrap_or_default().to_owned();
    }
    if text.contains("\"result\"") {
        return "result".to_owned();
    }
    text.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

async fn unmatched(stage: &Stage, stream: &mut TcpStream) -> io::Result<()> {
    let params = |id: u32| {
        let address: String = (0..32).map(|byte| format!("{:02x}", (byte + id) as u8)).collect();
        serde_json::json!({
            "topic": "transactions",
            "params": { "address": format!("0x{address}") },
            "fromHeight": "0"
        })
    };
    subscribe(stage, stream, params).await?;
    // On a short chain the blocks are soon read: so they are requested repeatedly.
    let mut answers = Vec::new();
    let _again = tokio::time::timeout(SCAN, stream.take(ANSWER_BYTES).read_to_end(&mut answers)).await;
    let answers = String::from_utf8_lossy(&answers);
    if let Some(at) = answers.find("\"error\"") {
        let shown: String = answers[at..].chars().take(200).collect();
        return Err(io::Error::other(shown));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_named_by_its_first_reason_its_result_or_its_status() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        for (body, kind) in [
            (
                r#"{"error":{"code":1401,"data":{"reason":"rate_limited","x":1}}}"#,
                "rate_limited",
            ),
            (r#"{"jsonrpc":"2.0","result":7}"#, "result"),
            ("", "200"),
        ] {
            assert_eq!(kind_of([head, body].concat().as_bytes()), kind);
        }
    }

    #[test]
    fn a_list_of_nothing_is_json_that_fills_a_message() {
        for request in requests(Attack::RpcLists, &Material::default()) {
            let text = String::from_utf8(request.bytes).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                (LIST_BYTES - 3..=LIST_BYTES).contains(&body.len()),
                "{}",
                body.len()
            );
            let call: serde_json::Value = serde_json::from_str(body).unwrap();
            let list = call["params"]
                .as_array()
                .and_then(|params| params.last())
                .unwrap();
            assert!(list.as_array().unwrap().iter().all(|entry| entry == ""));
        }
    }
}
