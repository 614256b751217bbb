#!/bin/sh
# What the DHCP client does with an answer: an address, a way out, and who knows names.
case $1 in
bound | renew)
  ip addr flush dev "$interface"
  ip addr add "$ip/${mask:-24}" dev "$interface"
  for router in $router; do
    ip route replace default via "$router" dev "$interface"
    break
  done
  for server in $dns; do
    echo "nameserver $server"
  done >/etc/resolv.conf
  ;;
esac
