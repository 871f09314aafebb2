# How the addresses read where each process has a container of its own. compose.yaml runs the files through this; by hand:
#   sed -f containers.sed global/node.yaml

# The admin page changes things too, so it stays on loopback, for the health check; on one port everywhere.
/^admin:/ {
    s/port_value: [0-9]*/port_value: 9901/
    b
}
# What stands above the clusters is a listener. It takes requests from other containers.
1,/^  clusters:/ s/address: 127.0.0.1,/address: 0.0.0.0,/
# Below are endpoints. They have names.
s/address: 127.0.0.1, port_value: 1000\([123]\)/address: node\1, port_value: 10001/
s/address: 127.0.0.1, port_value: 9000/address: upstream, port_value: 9000/
s/address: 127.0.0.1, port_value: 8081/address: tollgate, port_value: 8081/

# Containers share one machine, also with a build, and a request that Tollgate did not answer in time passes: a demo
# would show the machine's speed, not the limit. In production keep the short ones, and keep Redis near. An address that
# went silent is still given up fast: the other replica has the rest of the time.
s/ timeout: 0.2s/ timeout: 3s/
s/max_interval: 0.1s/max_interval: 1s/
s/connect_timeout: 0.1s/connect_timeout: 0.25s/

# An address that is left over would be this container itself, where nobody answers, and the node would let everything
# pass. Rather nothing starts.
/address: 127/ {
    s/.*/containers.sed: no name is known for this address: &/
    w /dev/stderr
    Q1
}
