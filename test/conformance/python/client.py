"""
Microsoft's Python client, driven from outside: one JSON command a line on stdin, one JSON line for each answer and event.

A command is {"call": N, "do": NAME, "with": {...}}. Its answer is {"call": N, "value": ...}, or {"call": N, "error": CLASS,
"causes": [...]} with the class of the exception and of those that it was raised from. What arrives by itself is
{"event": NAME, "value": ...}. The client is used as its documentation says; nothing of it is replaced.
"""

import asyncio
import json
import sys

from azure.iot.device import X509, Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def causes(error):
    chain = []
    while error is not None:
        chain.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return chain


async def register(wanted):
    common = {
        "provisioning_host": wanted["host"],
        "registration_id": wanted["registrationId"],
        "id_scope": wanted["idScope"],
        "websockets": wanted["websockets"],
    }
    if "key" in wanted:
        client = ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=wanted["key"], **common)
    else:
        x509 = X509(cert_file=wanted["certificate"], key_file=wanted["keyFile"])
        client = ProvisioningDeviceClient.create_from_x509_certificate(x509=x509, **common)
    result = await client.register()
    state = result.registration_state
    return {
        "status": result.status,
        "substatus": state.sub_status,
        "deviceId": state.device_id,
        "assignedHub": state.assigned_hub,
    }


def create(wanted):
    options = {"websockets": wanted["websockets"], "connection_retry": wanted.get("retry", False)}
    if "tokenSeconds" in wanted:
        options["sastoken_ttl"] = wanted["tokenSeconds"]
    if "connectionString" in wanted:
        return IoTHubDeviceClient.create_from_connection_string(wanted["connectionString"], **options)
    if "token" in wanted:
        return IoTHubDeviceClient.create_from_sastoken(wanted["token"], **options)
    x509 = X509(cert_file=wanted["certificate"], key_file=wanted["keyFile"])
    return IoTHubDeviceClient.create_from_x509_certificate(
        x509=x509, hostname=wanted["host"], device_id=wanted["deviceId"], **options
    )


class Device:
    client = None

    async def open(self, wanted):
        self.client = create(wanted)
        self.client.on_connection_state_change = self.connection_changed
        await self.client.connect()

    async def connection_changed(self):
        say({"event": "connection", "value": self.client.connected})

    async def send(self, wanted):
        message = Message(wanted["body"])
        message.message_id = wanted.get("messageId")
        message.correlation_id = wanted.get("correlationId")
        message.content_type = wanted.get("contentType")
        message.content_encoding = wanted.get("contentEncoding")
        message.custom_properties = wanted.get("properties", {})
        await self.client.send_message(message)

    async def twin(self, _):
        return await self.client.get_twin()

    async def report(self, patch):
        await self.client.patch_twin_reported_properties(patch)

    async def listen(self, _):
        self.client.on_message_received = self.message_received
        self.client.on_twin_desired_properties_patch_received = self.desired_received
        self.client.on_method_request_received = self.method_received

    async def message_received(self, message):
        body = message.data.decode() if isinstance(message.data, bytes) else message.data
        say({"event": "message", "value": {"body": body, "properties": message.custom_properties}})

    async def desired_received(self, patch):
        say({"event": "desired", "value": patch})

    async def method_received(self, request):
        say({"event": "method", "value": {"name": request.name, "payload": request.payload}})
        answer = {"called": request.name, "with": request.payload}
        await self.client.send_method_response(MethodResponse.create_from_method_request(request, 207, answer))

    async def close(self, _):
        await self.client.shutdown()


async def answer(device, command):
    do = register if command["do"] == "register" else getattr(device, command["do"])
    try:
        say({"call": command["call"], "value": await do(command["with"])})
    except Exception as error:
        say({"call": command["call"], "error": type(error).__name__, "causes": causes(error)})


async def main():
    device = Device()
    loop = asyncio.get_running_loop()
    running = set()
    say({"event": "ready", "value": None})
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(answer(device, json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
