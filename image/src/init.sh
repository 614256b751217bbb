#!/bin/busybox sh
# The first program of the machine: finds the agent's configuration, runs the agent, and ends the machine with it. The
# agent is never started again: its key would be another one, and its token is used up. The last line on the console
# says why the machine ended.

export PATH=/usr/bin:/bin HOME=/root

say() {
  echo "easyenclave: $*"
}

end() {
  sync
  # Otherwise the kernel has the last word.
  echo 0 >/proc/sys/kernel/printk
  say "$*"
  poweroff -f
}

# The host may see everything here, so nothing but the simulated platform's keys is taken for a secret.
given=/sys/firmware/qemu_fw_cfg/by_name/opt/easyenclave
config=/run/easyenclave/config.json

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mount -t devtmpfs -o nosuid dev /dev
mount -t tmpfs -o nosuid,nodev,mode=0755,size=16m run /run
mount -t tmpfs -o nosuid,nodev,mode=1777,size=25% tmp /tmp
mkdir -m 1777 /dev/shm
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=10% shm /dev/shm

while read -r module; do
  # Its driver is for trust domains only.
  [ "$module" = tdx_guest ] && ! grep -qw tdx_guest /proc/cpuinfo && continue
  insmod "/lib/modules/$module.ko" || say "the module $module cannot be loaded"
done </lib/modules/order
[ -d /sys/kernel/config ] && mount -t configfs -o nosuid,nodev,noexec configfs /sys/kernel/config

umask 077
mkdir -p /run/easyenclave/platform
cat "$given/config/raw" >"$config" 2>/dev/null || end 'no configuration: the machine was given none as opt/easyenclave/config'
for file in "$given"/platform/*; do
  [ -e "$file/raw" ] && cat "$file/raw" >"/run/easyenclave/platform/${file##*/}"
done
umask 022

ip link set lo up
ip link set eth0 up || say 'there is no network card'
if [ "$(cat "$given/net/raw" 2>/dev/null)" = user ]; then
  # The network that QEMU makes by itself always looks so.
  ip addr add 10.0.2.15/24 dev eth0
  ip route add default via 10.0.2.2
  echo 'nameserver 10.0.2.3' >/etc/resolv.conf
else
  # It stays, and renews the address for as long as the machine runs.
  udhcpc -n -i eth0 -t 5 -T 2 -s /etc/udhcpc.sh >/dev/null 2>&1 || say 'no DHCP server has answered'
fi

# A disk is the host's to read. Where memory is not, nothing is written to it.
data=/var/lib/easyenclave
if [ -b /dev/vda ]; then
  if grep -qw tdx_guest /proc/cpuinfo; then
    say 'the data disk is not used: the host could read it'
  else
    # Only a disk on which nothing was ever written is made new, and none that cannot be read.
    sh /etc/blank.sh /dev/vda "$(cat /sys/class/block/vda/size)"
    case $? in
    0) mke2fs /dev/vda >/dev/null 2>&1 || end 'the data disk cannot be made new' ;;
    1) ;;
    *) end 'the data disk cannot be read' ;;
    esac
    mount -t ext4 -o nosuid,nodev /dev/vda "$data" || end 'the data disk cannot be used'
  fi
fi

read -r agent </etc/easyenclave/agent
say "starting $agent"
# Split into words on purpose. Whoever gave the configuration has to have named it when he started the machine.
$agent --config "$config" --bound
end "the agent ended with $?"
