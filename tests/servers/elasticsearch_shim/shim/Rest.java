package shim;

import java.io.IOException;
import java.util.List;
import java.util.Set;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.core.CheckedConsumer;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;

/** Makes an HTTP route of a name, a function and its paths. */
final class Rest {

    private Rest() {}

    /** Reads a request; what it returns writes the answer. */
    interface Reader {
        CheckedConsumer<RestChannel, Exception> read(RestRequest request, NodeClient client)
            throws IOException;
    }

    static RestHandler handler(String name, Reader reader, RestHandler.Route... routes) {
        return new BaseRestHandler() {
            @Override
            public String getName() {
                return "shim_" + name;
            }

            @Override
            public List<Route> routes() {
                return List.of(routes);
            }

            @Override
            protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client)
                    throws IOException {
                request.param("master_timeout");  // a parameter nobody read is an error
                return reader.read(request, client)::accept;
            }

            @Override
            protected Set<String> responseParams() {
                return Set.of("verbose", "include_defaults", "expand_wildcards", "timeout");
            }
        };
    }

    static RestHandler.Route route(RestRequest.Method method, String path) {
        return new RestHandler.Route(method, path);
    }
}
