package shim;

import static org.elasticsearch.rest.RestRequest.Method.GET;
import static org.elasticsearch.rest.RestRequest.Method.HEAD;

import java.io.IOException;
import org.apache.lucene.util.Version;
import org.elasticsearch.Build;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;

/** GET /: name and version, as the module rest-root tells them. */
final class Banner {

    private Banner() {}

    static RestHandler handler(Settings settings) {
        return Rest.handler("root", (request, client) -> channel -> answer(channel, settings),
            Rest.route(GET, "/"), Rest.route(HEAD, "/"));
    }

    private static void answer(RestChannel channel, Settings settings) throws IOException {
        var build = Build.current();
        var body = channel.newBuilder().startObject()
            .field("name", settings.get("node.name"))
            .field("cluster_name", settings.get("cluster.name"))
            .startObject("version")
            .field("number", build.version())
            .field("build_flavor", "default")
            .field("build_type", "zip")
            .field("build_hash", build.hash())
            .field("lucene_version", Version.LATEST.toString())
            .endObject()
            .field("tagline", "You Know, for Search")
            .endObject();
        channel.sendResponse(new RestResponse(RestStatus.OK, body));
    }
}
