"""Libraries for RabbitMQ's HTTP API: pyrabbit2, rabbitmq-admin and amqpstorm. API is host:port, AMQP_URL a broker with a guest."""

import os

import amqpstorm.management
import pyrabbit2
import rabbitmq_admin

import pika

from smoke import run, scenario

API = os.environ["API"]


def refused(error, call, *arguments):
    try:
        call(*arguments)
    except error as refusal:
        return refusal
    raise AssertionError(f"{call} was not refused")


def connected():
    return pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))


def eventually(look):
    while True:
        found = look()
        if found:
            return found


@scenario
def pyrabbit2_sees_and_changes_topology_and_messages():
    api = pyrabbit2.Client(API, "guest", "guest")
    assert api.is_alive()
    assert api.get_whoami()["name"] == "guest"
    assert api.get_overview()["product_name"] == "Warren"
    assert len(api.get_nodes()) == 1
    assert api.create_exchange("/", "e", "topic", durable=True)
    assert api.get_exchange("/", "e")["type"] == "topic"
    assert "e" in [exchange["name"] for exchange in api.get_exchanges("/")]
    assert api.create_queue("/", "q", durable=True, arguments={"x-max-length": 100})
    assert api.get_queue("/", "q")["arguments"] == {"x-max-length": 100}
    assert api.create_binding("/", "e", "q", "a.*")
    assert [binding["routing_key"] for binding in api.get_queue_bindings("/", "q")] == ["q", "a.*"]
    assert len(api.get_bindings()) == 2
    assert api.publish("/", "e", "a.b", "hello")
    assert not api.publish("/", "e", "x", "hello")
    assert [queue["name"] for queue in api.get_queues("/")] == ["q"]
    assert api.get_queue_depth("/", "q") == 1
    assert api.get_messages("/", "q")[0]["payload"] == "hello"
    api.purge_queue("/", "q")
    assert api.get_queue_depth("/", "q") == 0
    api.delete_binding("/", "e", "q", "a.*")
    api.delete_exchange("/", "e")
    api.delete_queue("/", "q")
    assert api.get_queues() == []
    missing = refused(pyrabbit2.http.HTTPError, api.get_queue, "/", "q")
    assert missing.status == 404, missing


@scenario
def pyrabbit2_manages_access_policies_and_definitions():
    api = pyrabbit2.Client(API, "guest", "guest")
    api.create_vhost("shop")
    assert api.get_vhost_names() == ["/", "shop"]
    api.create_user("alex", "123", tags="policymaker")
    assert "alex" in [user["name"] for user in api.get_users()]
    api.set_vhost_permissions("shop", "alex", ".*", "", "^q")
    assert api.get_permission("shop", "alex")["configure"] == ".*"
    assert len(api.get_user_permissions("alex")) == 1
    assert {entry["user"] for entry in api.get_vhost_permissions("shop")} == {"guest", "alex"}
    as_alex = pyrabbit2.Client(API, "alex", "123")
    policy = {"pattern": "^q", "definition": {"max-length": 5}, "priority": 1, "apply-to": "queues"}
    as_alex.create_policy("shop", "short", **policy)
    assert as_alex.get_policy("shop", "short")["definition"] == {"max-length": 5}
    assert len(as_alex.get_all_policies()) == 1
    refused((pyrabbit2.http.HTTPError, pyrabbit2.api.PermissionError), as_alex.get_users)
    definitions = api.get_definitions()
    assert [entry["name"] for entry in definitions["policies"]] == ["short"], definitions
    as_alex.delete_policy("shop", "short")
    api.delete_permission("shop", "alex")
    api.delete_user("alex")
    api.delete_vhost("shop")
    assert api.get_extensions() == []
    assert api.get_cluster_name()["name"]


@scenario
def pyrabbit2_lists_and_closes_connections():
    api = pyrabbit2.Client(API, "guest", "guest")
    connection = connected()
    connection.channel()
    channel = eventually(api.get_channels)[0]
    assert api.get_channel(channel["name"])["number"] == 1
    [listed] = api.get_connections()
    assert api.get_connection(listed["name"])["user"] == "guest"
    api.delete_connection(listed["name"])
    refused(pika.exceptions.AMQPError, connection.process_data_events, 30)


@scenario
def rabbitmq_admin_does_all_that_it_offers():
    api = rabbitmq_admin.AdminAPI(f"http://{API}", ("guest", "guest"))
    api.overview()
    assert api.get_cluster_name()["name"]
    [node] = api.list_nodes()
    assert api.get_node(node["name"])["running"]
    assert api.get_node(node["name"], memory=True, binary=True)["running"]
    assert api.list_extensions() == []
    assert api.whoami()["name"] == "guest"
    api.create_vhost("shop", tracing=True)
    assert api.get_vhost("shop")["tracing"]
    assert api.is_vhost_alive("shop")["status"] == "ok"
    api.create_user("alex", "123", tags=["administrator"])
    assert api.get_user("alex")["tags"] == ["administrator"]
    api.create_user_permission("alex", "shop")
    assert api.get_user_permission("shop", "alex")["write"] == ".*"
    assert len(api.list_user_permissions("alex")) == 1
    api.create_exchange_for_vhost("e", "shop", {"type": "direct", "auto_delete": False, "durable": True})
    assert api.get_exchange_for_vhost("e", "shop")["durable"]
    assert "e" in [exchange["name"] for exchange in api.list_exchanges_for_vhost("shop")]
    policy = {"alternate-exchange": "amq.fanout"}
    api.create_policy_for_vhost("shop", "spare", policy, "^e$", apply_to="exchanges")
    assert api.get_policy_for_vhost("shop", "spare")["apply-to"] == "exchanges"
    definitions = api.get_definitions()
    api.post_definitions(definitions)
    assert api.get_definitions() == definitions
    for listed in [
        api.list_vhosts, api.list_users, api.list_permissions, api.list_policies, api.list_exchanges,
        api.list_bindings, api.list_connections, api.list_channels, api.list_consumers,
    ]:
        assert isinstance(listed(), list), listed
    assert api.list_bindings_for_vhost("shop") == api.list_consumers_for_vhost("shop") == []
    api.delete_policy_for_vhost("shop", "spare")
    api.delete_exchange_for_vhost("e", "shop", if_unused=True)
    api.delete_user_permission("alex", "shop")
    api.delete_user("alex")
    api.delete_vhost("shop")


@scenario
def amqpstorm_manages_and_moves_messages():
    with amqpstorm.management.ManagementApi(f"http://{API}", "guest", "guest") as api:
        assert api.aliveness_test("/")["status"] == "ok"
        assert api.whoami()["name"] == "guest"
        assert api.node(api.nodes()[0]["name"])["running"]
        api.virtual_host.create("shop")
        assert api.virtual_host.get("shop")["name"] == "shop"
        assert api.virtual_host.get_permissions("shop")[0]["user"] == "guest"
        for name in ["a", "b", "c"]:
            api.user.create(name, "x", tags="management")
            api.user.set_permission(name, "shop")
        assert api.user.get_permission("a", "shop")["read"] == ".*"
        assert len(api.user.get_permissions("a")) == 1
        api.user.delete_permission("a", "shop")
        api.user.delete("a")
        api.user.delete(["b", "c"])
        assert [user["name"] for user in api.user.list()] == ["guest"]
        api.exchange.declare("e", "topic", virtual_host="shop", durable=True)
        api.queue.declare("q", virtual_host="shop", durable=True, arguments={"x-max-priority": 5})
        api.queue.bind(queue="q", exchange="e", routing_key="a.#", virtual_host="shop", arguments={"x": 1})
        [_, binding] = api.queue.bindings("q", virtual_host="shop")
        assert binding["arguments"] == {"x": 1}
        api.exchange.bind(destination="amq.fanout", source="e", routing_key="", virtual_host="shop", arguments={})
        assert len(api.exchange.bindings("e", virtual_host="shop")) == 2
        api.exchange.unbind(destination="amq.fanout", source="e", virtual_host="shop", properties_key="~")
        api.basic.publish("hello", "a.b", exchange="e", virtual_host="shop",
                          properties={"delivery_mode": 2, "headers": {"k": "v"}})
        [message] = api.basic.get("q", virtual_host="shop", requeue=False, to_dict=True)
        assert message["properties"] == {"delivery_mode": 2, "headers": {"k": "v"}}, message
        page = api.queue.list(virtual_host="shop", name="q", show_all=False, page_size=1)
        assert [queue["name"] for queue in page] == ["q"]
        api.queue.unbind(queue="q", exchange="e", properties_key=binding["properties_key"], virtual_host="shop")
        api.queue.purge("q", virtual_host="shop")
        api.queue.delete("q", virtual_host="shop")
        api.exchange.delete("e", virtual_host="shop")
        missing = refused(amqpstorm.management.exception.ApiError, api.queue.get, "q", "shop")
        assert missing.error_code == 404, missing
        api.virtual_host.delete("shop")
        connection = connected()
        connection.channel()
        channel = eventually(api.channel.list)[0]
        assert api.channel.get(channel["name"])["number"] == 1
        [listed] = api.connection.list()
        api.connection.close(listed["name"], reason="bye")
        refused(pika.exceptions.AMQPError, connection.process_data_events, 30)


run()
