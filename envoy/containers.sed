# Rewrites the addresses for a setup in which each process has its own container. compose.yaml applies it to the files here.
# By hand:
#   sed -f containers.sed global/node.yaml

# The admin page can change settings, so it stays on loopback, for the health check. Its port is the same everywhere.
/^admin:/ {
    s/port_value: [0-9]*/port_value: 9901/
    b
}
# Addresses above the clusters are listeners. They accept requests from other containers.
1,/^  clusters:/ s/address: 127.0.0.1,/address: 0.0.0.0,/
# Addresses below are endpoints. They become names.
s/address: 127.0.0.1, port_value: 1000\([123]\)/address: node\1, port_value: 10001/
s/address: 127.0.0.1, port_value: 9000/address: upstream, port_value: 9000/
s/address: 127.0.0.1, port_value: 8081/address: tollgate, port_value: 8081/

# Containers share one machine, perhaps with a build, and requests that Tollgate does not answer in time pass. With short
# timeouts, the demo would show the machine's speed and not the limit. In production keep the short timeouts, and keep Redis
# near. A silent address is still given up quickly, which leaves the rest of the time to the other replica.
s/ timeout: 0.2s/ timeout: 3s/
s/max_interval: 0.1s/max_interval: 1s/
s/connect_timeout: 0.1s/connect_timeout: 0.25s/

# An address that no rule above replaced would be this container itself, where nothing answers, and the node would let every
# request pass. So the container does not start.
/address: 127/ {
    s/.*/containers.sed: no name is known for this address: &/
    w /dev/stderr
    Q1
}
