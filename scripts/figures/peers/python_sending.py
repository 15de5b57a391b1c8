"""Sends as fast as Microsoft's Python client does, one at a time and several on their way; prints counts as one JSON line."""

import asyncio
import json
import os
import time
import uuid

from azure.iot.device import X509, Message
from azure.iot.device.aio import IoTHubDeviceClient

BODY = os.environ["BODY"]
SECONDS = float(os.environ["SECONDS"])


async def send(client):
    message = Message(BODY, message_id=str(uuid.uuid4()))
    message.content_type = "application/json"
    message.content_encoding = "utf-8"
    await client.send_message(message)


async def send_for(client, on_their_way, seconds):
    started = time.monotonic()
    cpu_started = time.process_time()
    messages = 0
    while time.monotonic() - started < seconds:
        if on_their_way == 1:
            await send(client)
        else:
            await asyncio.gather(*(send(client) for _ in range(on_their_way)))
        messages += on_their_way
    return {
        "messages": messages,
        "seconds": time.monotonic() - started,
        "cpuSeconds": time.process_time() - cpu_started,
    }


async def main():
    client = IoTHubDeviceClient.create_from_x509_certificate(
        hostname=os.environ["HUB_HOST"],
        device_id=os.environ["DEVICE_ID"],
        x509=X509(cert_file=os.environ["CERT_PATH"], key_file=os.environ["KEY_PATH"]),
    )
    await client.connect()
    counts = {}
    for name, on_their_way in (("oneAtATime", 1), ("twentyOnTheirWay", 20), ("hundredOnTheirWay", 100)):
        await send_for(client, on_their_way, SECONDS / 4)
        counts[name] = await send_for(client, on_their_way, SECONDS)
    print(json.dumps(counts), flush=True)
    await client.shutdown()


asyncio.run(main())
