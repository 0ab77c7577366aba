"""The runs of scripts/bench-peers.sh, whose --help says what they are."""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from eth_account import Account

BATCH = 100
ANVIL_PORT = 28_545
ANVIL_CHAIN = 31_337
ANVIL_CONNECTIONS = 4
ANVIL_SENDERS = 1_000
ANVIL_PER_SENDER = 120
ETCD_SECONDS = 60
# Seconds at both ends in which clients connect and queues empty.
ETCD_EDGE = 5
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def die(what, hint):
    sys.exit(f"error: {what}\nhint: {hint}")


def busy(pids):
    """Seconds of processor time of these processes so far."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def unbroken():
    """Signals wait until the block is done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end(process):
    process.kill()
    process.wait()


@contextlib.contextmanager
def running(name, ports, *commands, log):
    """Programs that end with the block, however it ends, and that must not end before it."""
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                die(f"port {port} is taken, which {name} needs", "is an old run still there?")
    with contextlib.ExitStack() as stack:
        processes = []
        for command in commands:
            with unbroken():
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=heed)
                stack.callback(end, process)
            processes.append(process)
        yield processes
        if any(process.poll() is not None for process in processes):
            die(f"{name} ended before its time", f"see {log.name}")


def heed():
    """A program that is started while signals wait would otherwise never see them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def until(answers, processes, name, log):
    """Waits until `answers()`; gives up when a process ends or after 20 s."""
    last = time.monotonic() + 20
    while not answers():
        if any(process.poll() is not None for process in processes) or time.monotonic() > last:
            die(f"{name} does not start", f"see {log.name}")
        time.sleep(0.1)


def row(peer, transfers, seconds, node_seconds, client_seconds):
    return {
        "peer": peer,
        "transfers": transfers,
        "perSecond": round(transfers / seconds),
        "nodeCpuUsEach": round(node_seconds / transfers * 1e6),
        "clientCpuUsEach": round(client_seconds / transfers * 1e6),
    }


def vibecoin(program, folder, log, secs):
    environment = dict(os.environ, DEVNET_DIR=os.path.join(folder, "devnet"))

    def run(*words):
        done = subprocess.run([program, *words], env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        if done.returncode:
            die(f"`vibecoin {' '.join(words)}` failed", f"see {log.name}")
        return done.stdout

    try:
        run("devnet", "up", "-v", "4", "-n", "0", "--base-port", "28100")
        load = ["--tps", "0", "--accounts", "2000", "--secs", str(secs), "--batch", str(BATCH), "--in-flight", "8000"]
        told = json.loads(run("-o", "json", "devnet", "load", *load).splitlines()[-1])
    finally:
        # The nodes are in sessions of their own: only this ends them.
        with unbroken():
            words = [program, "devnet", "destroy"]
            destroyed = subprocess.run(words, env=environment, stdout=log, stderr=log, start_new_session=True)
    if destroyed.returncode:
        die(f"`vibecoin devnet destroy` failed in {folder}", f"see {log.name}")
    if any(node["cpuSeconds"] is None for node in told["cost"]):
        die("a validator ended before its time", f"see {log.name}")
    done = told["included"]
    return row("vibecoin", done, done / told["transfersPerSecond"], told["cpuSeconds"], told["senderCpuSeconds"])


class Anvil:
    """One keep-alive connection."""

    def __init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", ANVIL_PORT, timeout=120)

    def post(self, body):
        self.connection.request("POST", "/", body, {"content-type": "application/json"})
        return json.loads(self.connection.getresponse().read())

    def call(self, *calls):
        """The results of these methods with their parameters, in one request."""
        body = [{"jsonrpc": "2.0", "id": i, "method": m, "params": list(p)} for i, (m, *p) in enumerate(calls)]
        answers = self.post(json.dumps(body))
        for answer in answers:
            if "error" in answer:
                die(f"anvil refused a call: {answer['error']}", f"the first was {calls[0]}")
        return [answer["result"] for answer in answers]


def anvil_account(number):
    return Account.from_key((number + 1).to_bytes(32, "big"))


def signed_by(number):
    """The transfers of one account, in order."""
    account, to = anvil_account(number), anvil_account((number + 1) % ANVIL_SENDERS).address
    fields = {"gasPrice": 1, "gas": 21_000, "to": to, "value": 1, "chainId": ANVIL_CHAIN}
    return [
        account.sign_transaction({**fields, "nonce": nonce}).raw_transaction.to_0x_hex()
        for nonce in range(ANVIL_PER_SENDER)
    ]


def anvil_bodies():
    """Requests of 100 transfers, one list per connection; an account's stay in order on one connection."""
    with multiprocessing.Pool() as pool:
        transfers = pool.map(signed_by, range(ANVIL_SENDERS))
    bodies = []
    for lane in range(ANVIL_CONNECTIONS):
        raws = [raw for turn in zip(*transfers[lane::ANVIL_CONNECTIONS]) for raw in turn]
        calls = [{"jsonrpc": "2.0", "id": i, "method": "eth_sendRawTransaction", "params": [raw]} for i, raw in enumerate(raws)]
        bodies.append([json.dumps(calls[i : i + BATCH]) for i in range(0, len(calls), BATCH)])
    return bodies


def anvil_send(bodies):
    node = Anvil()
    for body in bodies:
        for answer in node.post(body):
            if "error" in answer:
                die(f"anvil refused a transfer: {answer['error']}", "this is a fault of the benchmark")


def anvil(program, log, bodies, block_time):
    command = [program, "--silent", "--port", str(ANVIL_PORT), "--accounts", "1", "--base-fee", "0", "--gas-price", "1"]
    command += ["--gas-limit", "1000000000", "--prune-history", "--block-time", str(block_time)]

    def answers():
        with contextlib.suppress(OSError):
            return Anvil().call(("eth_chainId",))

    with running("anvil", [ANVIL_PORT], command, log=log) as processes:
        until(answers, processes, "anvil", log)
        node, total = Anvil(), ANVIL_SENDERS * ANVIL_PER_SENDER
        node.call(*(("anvil_setBalance", anvil_account(i).address, hex(10**18)) for i in range(ANVIL_SENDERS)))
        block = int(*node.call(("eth_blockNumber",)), 16) + 1
        pids = [processes[0].pid]
        node_before, client_before, begun, done = busy(pids), time.process_time(), time.monotonic(), 0
        with ThreadPoolExecutor(ANVIL_CONNECTIONS) as threads:
            try:
                for sent in [threads.submit(anvil_send, lane) for lane in bodies]:
                    sent.result()
            except BaseException:
                # Else the pool waits for what the others have yet to send.
                end(processes[0])
                raise
        while done < total:
            if time.monotonic() > begun + 600:
                die(f"anvil mined {done} of {total} transfers in ten minutes", f"see {log.name}")
            time.sleep(0.05)
            head = int(*node.call(("eth_blockNumber",)), 16)
            while block <= head:
                part = range(block, min(block + BATCH, head + 1))
                counts = node.call(*(("eth_getBlockTransactionCountByNumber", hex(n)) for n in part))
                done += sum(int(count, 16) for count in counts)
                block = part.stop
        seconds = time.monotonic() - begun
        client_seconds = time.process_time() - client_before
        return row(f"anvil, a block each {block_time:g} s", total, seconds, busy(pids) - node_before, client_seconds)


def etcd(programs, folder, log):
    data = os.path.join(folder, "etcd")
    names = ["a", "b", "c"]
    peer = [f"http://127.0.0.1:{28_381 + i}" for i in range(3)]
    client = [f"http://127.0.0.1:{28_371 + i}" for i in range(3)]
    cluster = ",".join(f"{name}={url}" for name, url in zip(names, peer))
    commands = [
        [os.path.join(programs, "etcd"), "--name", name, "--data-dir", os.path.join(data, name), "--log-level", "error",
         "--listen-peer-urls", at, "--initial-advertise-peer-urls", at, "--listen-client-urls", clients,
         "--advertise-client-urls", clients, "--initial-cluster", cluster, "--initial-cluster-state", "new"]
        for name, at, clients in zip(names, peer, client)
    ]
    control = [os.path.join(programs, "etcdctl"), "--endpoints", ",".join(client)]
    environment = dict(os.environ, ETCDCTL_API="3")

    def healthy():
        command = [*control, "endpoint", "health"]
        return not subprocess.run(command, env=environment, stdout=log, stderr=log).returncode

    try:
        with running("etcd", [int(url.rsplit(":", 1)[1]) for url in peer + client], *commands, log=log) as members:
            until(healthy, members, "etcd", log)
            pids, client_before = [member.pid for member in members], children()
            command = [*control, "check", "perf", "--load", "xl"]
            with contextlib.ExitStack() as stack:
                with unbroken():
                    check = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=heed,
                                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    stack.callback(end, check)
                # The middle of the load: when it ends, every key is deleted, which is no put.
                time.sleep(ETCD_EDGE)
                node_before = busy(pids)
                time.sleep(ETCD_SECONDS - 2 * ETCD_EDGE)
                node_seconds = busy(pids) - node_before
                told, _ = check.communicate(timeout=ETCD_SECONDS + 120)
            figure = re.search(r"hroughput (?:is|too low:) (\d+) writes/s", told)
            if not figure or "too many errors" in told:
                die(f"etcdctl told no figure: {told[-300:]}", f"see {log.name}")
            puts = int(figure[1]) * ETCD_SECONDS
            whole_load = node_seconds * ETCD_SECONDS / (ETCD_SECONDS - 2 * ETCD_EDGE)
            return row("etcd", puts, ETCD_SECONDS, whole_load, children() - client_before)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def children():
    """Seconds of processor time of the programs that were run to their end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows):
    by_peer = {}
    for line in rows:
        by_peer.setdefault(line["peer"], []).append(line)
    median = lambda lines, what: statistics.median(line[what] for line in lines)
    own = median(by_peer["vibecoin"], "perSecond")
    print(f"{'':30}{'runs':>5}{'per second':>12}{'CPU us each':>13}{'client':>8}{'vibecoin is':>13}")
    for peer, lines in by_peer.items():
        rate = median(lines, "perSecond")
        cpu, client = median(lines, "nodeCpuUsEach"), median(lines, "clientCpuUsEach")
        print(f"{peer:30}{len(lines):>5}{rate:>12,.0f}{cpu:>13,.0f}{client:>8,.0f}{own / rate:>12.2f}x")


def count(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main():
    arguments = argparse.ArgumentParser(prog="scripts/bench-peers.sh", allow_abbrev=False)
    arguments.add_argument("--rounds", type=count, default=2)
    arguments.add_argument("--secs", type=count, default=30)
    for name in ["vibecoin", "anvil", "etcd", "folder"]:
        arguments.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    # So that what was started is ended.
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    rows = []

    def told(line):
        rows.append(line)
        print(json.dumps(line), flush=True)

    # Beside the cache, which is on a disk: a temporary folder may be in memory.
    folder = tempfile.mkdtemp(prefix="run-", dir=asked.folder)
    with open(os.path.join(asked.folder, "bench-peers.log"), "w", encoding="utf-8") as log:
        try:
            print("signing the transfers for anvil", file=sys.stderr)
            bodies = anvil_bodies()
            for number in range(asked.rounds):
                print(f"round {number + 1} of {asked.rounds}", file=sys.stderr)
                told(vibecoin(asked.vibecoin, folder, log, asked.secs))
                for block_time in [1, 0.2]:
                    told(anvil(asked.anvil, log, bodies, block_time))
                told(etcd(asked.etcd, folder, log))
            told(vibecoin(asked.vibecoin, folder, log, asked.secs))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    table(rows)


if __name__ == "__main__":
    main()
