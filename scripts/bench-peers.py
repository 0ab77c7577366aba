#!/usr/bin/env python3
"""Transfers per second that anvil takes and mines, sent over JSON-RPC in batches of 100 signed beforehand.

Prints one line of JSON. Called by scripts/bench-peers.sh, which says what it needs.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time

from eth_account import Account

SENDERS = 1_000
BATCH = 100
CONNECTIONS = 4
CHAIN = 31_337


class Node:
    """One keep-alive connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, body):
        self.connection.request("POST", "/", body, {"content-type": "application/json"})
        return json.loads(self.connection.getresponse().read())

    def call(self, method, *params):
        answer = self.post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        if "error" in answer:
            sys.exit(f"error: anvil refused {method}: {answer['error']}")
        return answer["result"]


def wait_for(port, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            return Node(port).call("eth_chainId")
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"error: anvil does not answer on port {port}: {error}")
            time.sleep(0.05)


def signed(accounts, per_account):
    """One list of batches per connection; every account's nonces stay in order on one connection."""
    lanes = [[] for _ in range(CONNECTIONS)]
    for nonce in range(per_account):
        for i, account in enumerate(accounts):
            target = accounts[(i + 1) % len(accounts)].address
            fields = {"nonce": nonce, "gasPrice": 1, "gas": 21_000, "to": target, "value": 1, "chainId": CHAIN}
            lanes[i % CONNECTIONS].append("0x" + account.sign_transaction(fields).raw_transaction.hex().removeprefix("0x"))
    def body(raws):
        calls = [{"jsonrpc": "2.0", "id": i, "method": "eth_sendRawTransaction", "params": [raw]} for i, raw in enumerate(raws)]
        return json.dumps(calls)
    return [[body(lane[i : i + BATCH]) for i in range(0, len(lane), BATCH)] for lane in lanes]


def send(port, bodies, refused):
    node = Node(port)
    for body in bodies:
        refused.extend(answer for answer in node.post(body) if "error" in answer)


def mined(node, first):
    """Transfers in the blocks from `first` on, and the next block to look at."""
    head = int(node.call("eth_blockNumber"), 16)
    count = 0
    for start in range(first, head + 1, BATCH):
        numbers = range(start, min(start + BATCH, head + 1))
        calls = [{"jsonrpc": "2.0", "id": n, "method": "eth_getBlockTransactionCountByNumber", "params": [hex(n)]} for n in numbers]
        count += sum(int(answer["result"], 16) for answer in node.post(json.dumps(calls)))
    return count, head + 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--anvil", required=True, help="the program")
    arguments.add_argument("--transfers", type=int, default=60_000)
    arguments.add_argument("--port", type=int, default=28_545)
    arguments.add_argument("--block-time", type=int, help="seconds; absent: a block as soon as there is a transfer")
    asked = arguments.parse_args()
    per_account = max(1, asked.transfers // SENDERS)
    total = per_account * SENDERS
    accounts = [Account.from_key((i + 1).to_bytes(32, "big")) for i in range(SENDERS)]
    bodies = signed(accounts, per_account)
    command = [asked.anvil, "--silent", "--port", str(asked.port), "--accounts", "1", "--base-fee", "0",
               "--gas-price", "1", "--gas-limit", "1000000000000"]
    if asked.block_time:
        command += ["--block-time", str(asked.block_time)]
    anvil = subprocess.Popen(command)
    try:
        wait_for(asked.port)
        node = Node(asked.port)
        for account in accounts:
            node.call("anvil_setBalance", account.address, hex(10**18))
        first = int(node.call("eth_blockNumber"), 16) + 1
        busy_before = busy(anvil.pid)
        begun = time.monotonic()
        refused = []
        threads = [threading.Thread(target=send, args=(asked.port, lane, refused)) for lane in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if refused:
            sys.exit(f"error: anvil refused {len(refused)} transfers, the first with {refused[0]}")
        done = 0
        deadline = time.monotonic() + 300
        while True:
            count, first = mined(node, first)
            done += count
            if done >= total:
                break
            if time.monotonic() > deadline:
                sys.exit(f"error: anvil mined {done} of {total} transfers in five minutes after the last was sent")
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        print(json.dumps({"peer": "anvil", "blockTime": asked.block_time, "transfers": total,
                          "transfersPerSecond": round(total / seconds),
                          "cpuUsPerTransfer": round((busy(anvil.pid) - busy_before) / total * 1e6)}))
    finally:
        anvil.kill()
        anvil.wait()


def busy(pid):
    """Seconds of processor time so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
