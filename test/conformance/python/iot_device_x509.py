"""
iot_device_x509.py
IoT device client using X.509 certificate authentication.
Drop-in replacement for SAS-based device client.
"""

import asyncio
import json
import logging
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient
from azure.iot.device import X509, Message

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("iot-device")

# Configuration (environment variables or config file)
DPS_HOST = os.getenv("DPS_HOST", "global.azure-devices-provisioning.net")
DPS_ID_SCOPE = os.getenv("DPS_ID_SCOPE")
DEVICE_ID = os.getenv("DEVICE_ID")
CERT_PATH = os.getenv("CERT_PATH", f"/etc/iot-certs/{DEVICE_ID}.pem")
KEY_PATH = os.getenv("KEY_PATH", f"/etc/iot-certs/{DEVICE_ID}.key")
TELEMETRY_INTERVAL = int(os.getenv("TELEMETRY_INTERVAL", "60"))


async def provision_device():
    """Register device through DPS using X.509 certificate."""
    log.info(f"Provisioning device '{DEVICE_ID}' through DPS...")

    x509 = X509(cert_file=CERT_PATH, key_file=KEY_PATH)

    provisioning_client = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=DPS_HOST,
        registration_id=DEVICE_ID,
        id_scope=DPS_ID_SCOPE,
        x509=x509,
    )

    result = await provisioning_client.register()

    if result.status == "assigned":
        log.info(f"Device provisioned to hub: {result.registration_state.assigned_hub}")
        return result.registration_state.assigned_hub
    else:
        log.error(f"Provisioning failed: {result.status}")
        sys.exit(1)


async def run_device(hub_hostname):
    """Connect to IoT Hub and send telemetry."""
    x509 = X509(cert_file=CERT_PATH, key_file=KEY_PATH)

    client = IoTHubDeviceClient.create_from_x509_certificate(
        hostname=hub_hostname,
        device_id=DEVICE_ID,
        x509=x509,
    )

    await client.connect()
    log.info(f"Connected to IoT Hub ({hub_hostname}) with X.509 certificate.")

    try:
        while True:
            telemetry = {
                "deviceId": DEVICE_ID,
                "temperature": 22.5,  # Replace with actual sensor reading
                "humidity": 45.0,
                "timestamp": datetime.now(timezone.utc).isoformat(),
                "authType": "x509",
            }

            message = Message(json.dumps(telemetry))
            message.content_type = "application/json"
            message.content_encoding = "utf-8"

            await client.send_message(message)
            log.info(f"Telemetry sent: temp={telemetry['temperature']}")

            await asyncio.sleep(TELEMETRY_INTERVAL)

    except KeyboardInterrupt:
        log.info("Shutting down...")
    finally:
        await client.disconnect()
        log.info("Disconnected.")


async def main():
    hub_hostname = await provision_device()
    await run_device(hub_hostname)


if __name__ == "__main__":
    asyncio.run(main())
