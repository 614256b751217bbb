"""A life of a tunnel, told by Cloudflare's own SDK. Prints what it sees; the test knows what that should be."""

import sys

import cloudflare
from cloudflare import Cloudflare

base, token = sys.argv[1], sys.argv[2]
account, zone = "699d98642c564d2e855e9661899b7252", "023e105f4ecef8ad9ca31a8372d0c353"
plain = {"base_url": base, "max_retries": 0, "timeout": 60}
strict = Cloudflare(api_token=token, _strict_response_validation=True, **plain)
# The SDK wants a host name in every rule, which the last one has not.
loose = Cloudflare(api_token=token, **plain)
tunnels, records = strict.zero_trust.tunnels.cloudflared, strict.dns.records


def refused(what, call):
    try:
        call()
    except cloudflare.APIStatusError as error:
        wait = error.response.headers.get("retry-after")
        code = error.body["errors"][0]["code"]
        print(what, error.status_code, wait if error.status_code == 429 else code)
    else:
        print(what, "was not refused")


def names(**more):
    return sorted(tunnel.name for tunnel in tunnels.list(account_id=account, per_page=2, **more))


one = tunnels.create(account_id=account, name="one", config_src="cloudflare")
print("create", one.name, one.status, one.config_src)
refused("again", lambda: tunnels.create(account_id=account, name="one", config_src="cloudflare"))
for name in ("two", "three"):
    tunnels.create(account_id=account, name=name, config_src="cloudflare")
page = tunnels.list(account_id=account, is_deleted=False)
print("pages", names(is_deleted=False), "of", page.result_info.total_count)
print("named", names(name="two", is_deleted=False))

rules = loose.zero_trust.tunnels.cloudflared.configurations
print("rules", rules.get(one.id, account_id=account).config)
ingress = [{"hostname": "one.example.com", "service": "http://127.0.0.1:8080"}, {"service": "http_status:404"}]
print("rules set", rules.update(one.id, account_id=account, config={"ingress": ingress}).version)
read = rules.get(one.id, account_id=account).config.ingress
print("rules read", [getattr(rule, "hostname", None) for rule in read])
wrong = {"ingress": list(reversed(ingress))}
refused("catch-all first", lambda: rules.update(one.id, account_id=account, config=wrong))

target = f"{one.id}.cfargotunnel.com"
wanted = {"type": "CNAME", "name": "one.example.com", "proxied": True, "ttl": 1, "comment": "mine", "zone_id": zone}
record = records.create(content=target, **wanted)
made = (record.type, record.name, record.proxied)
token_read = tunnels.token.get(one.id, account_id=account)
print("token", isinstance(token_read, str) and len(token_read) > 20)
print("record", *made)
refused("record again", lambda: records.create(content=target, **wanted))
refused("record taken", lambda: records.create(content="elsewhere.example.net", **wanted))
print("found", [found.name for found in records.list(zone_id=zone, name={"exact": "one.example.com"})])
moved = records.edit(record.id, content="elsewhere.example.net", type="CNAME", name="one.example.com", ttl=1, zone_id=zone)
print("moved", moved.content == "elsewhere.example.net")
refused("too many", lambda: records.get(record.id, zone_id=zone))
refused("too many", lambda: records.get(record.id, zone_id=zone))
raw = tunnels.connections.with_raw_response.get(one.id, account_id=account)
print("unsuccessful", raw.status_code if raw.http_response.json()["success"] is False else "was successful")
for _ in range(2):
    tunnels.connections.delete(one.id, account_id=account)
    refused("still connected", lambda: tunnels.delete(one.id, account_id=account))
tunnels.connections.delete(one.id, account_id=account)
print("dropped")
print("deleted", tunnels.delete(one.id, account_id=account).deleted_at is not None)
refused("gone", lambda: tunnels.delete(one.id, account_id=account))
print("there", names(is_deleted=False))
print("with deleted", names())
records.delete(record.id, zone_id=zone)
print("record gone", list(records.list(zone_id=zone)))
stranger = Cloudflare(api_token="another", **plain)
refused("unknown", lambda: stranger.zero_trust.tunnels.cloudflared.list(account_id=account))
