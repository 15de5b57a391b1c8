SUMMARY = "Device identity and telemetry agent for Azure IoT"
DESCRIPTION = "Makes the key of the device on the device, gets a certificate for it, registers with DPS and sends \
               telemetry to IoT Hub. Unpacks the package that brings no runtime; nothing is compiled, nothing is fetched."
HOMEPAGE = "https://learn.microsoft.com/azure/iot-dps/"
SECTION = "net"
LICENSE = "MIT & BSD-3-Clause"
LIC_FILES_CHKSUM = "file://LICENSE;md5=d405ebdee7a1648eab38d97fd59929b2"

# Both are to be put into files/ beside this recipe: the package as `npm run package -- --arch all` leaves it, and LICENSE.
SRC_URI = "file://iot-device-agent-system-node_${PV}_all.deb;subdir=package \
           file://LICENSE"

S = "${UNPACKDIR}"

CVE_PRODUCT = "iot-device-agent"

inherit allarch features_check systemd useradd

REQUIRED_DISTRO_FEATURES = "systemd"

SYSTEMD_SERVICE:${PN} = "iot-device-agent.service"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --no-create-home --home-dir ${localstatedir}/lib/iot-device-agent \
                       --shell ${base_sbindir}/nologin iot-device-agent"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${prefix}
    cp -R --no-dereference --preserve=mode,links ${S}/package/usr/. ${D}${prefix}
    # Debian's tree is merged: systemd's files are below /usr/lib, which need not be so here.
    if [ "${systemd_system_unitdir}" != "${nonarch_libdir}/systemd/system" ]; then
        install -d ${D}${systemd_system_unitdir}
        mv ${D}${nonarch_libdir}/systemd/system/* ${D}${systemd_system_unitdir}
        rmdir ${D}${nonarch_libdir}/systemd/system
    fi
}

FILES:${PN} += "${nonarch_libdir}/iot-device-agent \
                ${nonarch_libdir}/systemd \
                ${nonarch_libdir}/sysusers.d \
                ${nonarch_libdir}/tmpfiles.d \
                ${systemd_system_unitdir} \
                ${datadir}/bash-completion \
                ${datadir}/fish \
                ${datadir}/zsh"

# The agent asks for Node 24; branches of meta-oe with an older one need its recipe from a later branch.
RDEPENDS:${PN} += "ca-certificates nodejs (>= 24)"
