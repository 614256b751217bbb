#!/bin/sh
# What the DHCP client does with an answer: an address, a way out, and who knows names.
case $1 in
deconfig)
  # The address is not ours, or not ours any more.
  ip addr flush dev "$interface"
  ;;
bound | renew)
  if ! ip -4 addr show dev "$interface" | grep -qF "inet $ip/${mask:-24} "; then
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
  fi
  for router in $router; do
    ip route replace default via "$router" dev "$interface"
    break
  done
  for server in $dns; do
    echo "nameserver $server"
  done >/etc/resolv.conf
  ;;
esac
