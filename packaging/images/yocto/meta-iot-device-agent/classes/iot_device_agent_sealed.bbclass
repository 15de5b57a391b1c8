# For recipes of images: `inherit iot_device_agent_sealed`. The image is not built when the identity of one device is in it.

iot_device_agent_check_sealed[doc] = "Looks for keys, certificates, secrets and IDs of one device in the image"
iot_device_agent_check_sealed() {
    seal="${IMAGE_ROOTFS}${nonarch_libdir}/iot-device-agent/seal"
    if [ ! -f "$seal" ]; then
        bbfatal "iot-device-agent is not in this image: IMAGE_INSTALL:append = \" iot-device-agent\""
    fi
    if ! found=$(sh "$seal" --check --root "${IMAGE_ROOTFS}"); then
        bbfatal "these belong to one device, and every copy of the image would have them: $found"
    fi
}

ROOTFS_POSTPROCESS_COMMAND:append = " iot_device_agent_check_sealed"
