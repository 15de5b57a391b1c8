"""
Microsoft's Python client in an outage. Reads numbers from stdin, one a line, takes each as a sample, says the number when the
sample is in the client's hands, and sends it again for as long as the client reports a failure. The client keeps what it
cannot send in memory; the program asks nothing of it that its documentation does not.
"""

import asyncio
import os
import sys

from azure.iot.device import X509, Message
from azure.iot.device.aio import IoTHubDeviceClient

NOTE = "x" * int(os.environ["SAMPLE_BYTES"])


def sample(number):
    start = f'{{"n":{number},"temperature":22.5,"humidity":45,"note":"'
    return start + NOTE[: max(0, len(NOTE) - len(start) - 2)] + '"}'


async def connect(client):
    while True:
        try:
            await client.connect()
            return
        except Exception as error:
            print(f"connect: {type(error).__name__}", file=sys.stderr)
            await asyncio.sleep(1)


async def deliver(client, connected, number):
    await asyncio.shield(connected)
    message = Message(sample(number), message_id=f"sample-{number}")
    message.content_type = "application/json"
    message.content_encoding = "utf-8"
    while True:
        try:
            await client.send_message(message)
            return
        except Exception as error:
            print(f"{number}: {type(error).__name__}", file=sys.stderr)
            await asyncio.sleep(1)


async def main():
    client = IoTHubDeviceClient.create_from_x509_certificate(
        hostname=os.environ["HUB_HOST"],
        device_id=os.environ["DEVICE_ID"],
        x509=X509(cert_file=os.environ["CERT_PATH"], key_file=os.environ["KEY_PATH"]),
        connection_retry_interval=int(os.environ["RETRY_SECONDS"]),
    )
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    # Once it was connected, it connects again by itself.
    connected = asyncio.ensure_future(connect(client))
    print("ready", flush=True)
    sending = set()
    while line := await lines.readline():
        task = asyncio.create_task(deliver(client, connected, int(line)))
        sending.add(task)
        task.add_done_callback(sending.discard)
        # The task begins, and with it the client has the message.
        await asyncio.sleep(0)
        print(int(line), flush=True)


asyncio.run(main())
