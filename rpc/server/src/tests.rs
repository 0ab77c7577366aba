//! The server over a real socket, with the generated client and with raw bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod admin;
mod building;
mod consensus;
mod debtors;
mod headers;
mod hostile;
mod limits;
mod memory;
mod methods;
mod pipeline;
mod ranges;
mod strangers;
mod subscriptions;
mod transactions;
mod waiting;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::mock::MockBackend;
use crate::{Config, RpcServer};

/// A server and its node.
pub(crate) struct Served {
    pub(crate) node: Arc<MockBackend>,
    pub(crate) server: RpcServer,
}

/// A handle for rules without a server.
pub(crate) fn never() -> jsonrpsee::server::StopHandle {
    jsonrpsee::server::stop_channel().0
}

pub(crate) async fn serve() -> Served {
    serve_with(Config::default()).await
}

pub(crate) async fn serve_with(config: Config) -> Served {
    serve_node(MockBackend::new(), config).await
}

pub(crate) async fn serve_node(node: MockBackend, config: Config) -> Served {
    let node = Arc::new(node);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = RpcServer::start(listener, Arc::clone(&node), config).unwrap();
    Served { node, server }
}

impl Served {
    pub(crate) fn http(&self) -> jsonrpsee::http_client::HttpClient {
        let url = format!("http://{}", self.server.address());
        jsonrpsee::http_client::HttpClient::builder().build(url).unwrap()
    }

    pub(crate) async fn ws(&self) -> jsonrpsee::ws_client::WsClient {
        let url = format!("ws://{}", self.server.address());
        jsonrpsee::ws_client::WsClientBuilder::default()
            .build(url)
            .await
            .unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends raw bytes and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        Answer::read(stream).await
    }

    /// Posts a body as JSON.
    pub(crate) async fn post(&self, body: &str) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body.as_bytes()].concat()).await
    }

    /// Calls a method and returns the whole response object.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(&request.to_string()).await.json()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }
}

/// A WebSocket connection by hand, for messages that no client would send.
pub(crate) struct RawSocket(pub(crate) TcpStream);

impl RawSocket {
    pub(crate) async fn open(served: &Served) -> Self {
        let mut stream = served.connect().await;
        let upgrade = b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self(stream)
    }

    /// Sends a text message; its mask is zero.
    pub(crate) async fn send(&mut self, text: &str) {
        let mut frame = vec![0x81, 0xff];
        frame.extend((text.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    /// Reads the next text message; pings are skipped.
    pub(crate) async fn receive(&mut self) -> String {
        loop {
            let kind = self.0.read_u8().await.unwrap();
            let len = match self.0.read_u8().await.unwrap() {
                126 => u64::from(self.0.read_u16().await.unwrap()),
                127 => self.0.read_u64().await.unwrap(),
                len => u64::from(len),
            };
            let mut payload = vec![0; len as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            if kind == 0x81 {
                return String::from_utf8(payload).unwrap();
            }
        }
    }
}

/// An HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Self::of(bytes)
    }

    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {} {}", self.head, self.body))
    }
}

/// Checks the code and the reason of an error.
#[track_caller]
pub(crate) fn expect_error(response: &Value, code: i64, reason: &str) {
    assert_eq!(response["error"]["code"], code, "{response}");
    assert_eq!(response["error"]["data"]["reason"], reason, "{response}");
    assert!(response["error"]["data"]["retryable"].is_boolean(), "{response}");
}
