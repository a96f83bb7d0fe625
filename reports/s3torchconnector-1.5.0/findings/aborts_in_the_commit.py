"""The training process aborts when the store goes away in the commit. Run it through reports/with_seaweedfs.py."""

import os
import socket
import struct
import subprocess
import sys
import threading


def proxy(store: tuple[str, int]) -> int:
    """A proxy that resets every connection from the CopyObject of the commit on; returns its port."""
    listener, down = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def reset(end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()

    def pump(source: socket.socket, target: socket.socket, *, watch: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if watch and b"x-amz-copy-source" in data.lower():
                    down.set()
                if down.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        reset(source)
        reset(target)

    def accept() -> None:
        while True:
            client = listener.accept()[0]
            if down.is_set():
                reset(client)
                continue
            server = socket.create_connection(store)
            threading.Thread(target=pump, args=(client, server), kwargs={"watch": True}, daemon=True).start()
            threading.Thread(target=pump, args=(server, client), kwargs={"watch": False}, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


SAVE = """
import torch, torch.distributed.checkpoint as dcp
from s3torchconnector import S3ClientConfig
from s3torchconnector.dcp import S3StorageWriter
config = S3ClientConfig(force_path_style=True, max_attempts=3)
try:
    writer = S3StorageWriter("us-east-1", "s3://dcp/abort", s3client_config=config)
    dcp.save({"t": torch.ones(600)}, storage_writer=writer)
except BaseException as error:
    print("raised", type(error).__name__)
"""

host, _, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
through = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy((host, int(port)))}"}
ended = subprocess.run([sys.executable, "-c", SAVE], env=through).returncode
print(f"the process that saved ended with {ended} (-6 is SIGABRT)")
sys.exit(ended != -6)
