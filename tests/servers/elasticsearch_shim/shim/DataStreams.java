package shim;

import static org.elasticsearch.rest.RestRequest.Method.DELETE;
import static org.elasticsearch.rest.RestRequest.Method.GET;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.datastreams.DataStreamsActionUtil;
import org.elasticsearch.action.datastreams.DeleteDataStreamAction;
import org.elasticsearch.action.datastreams.GetDataStreamAction;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.health.ClusterStateHealth;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.metadata.Metadata;
import org.elasticsearch.cluster.metadata.MetadataDeleteIndexService;
import org.elasticsearch.cluster.metadata.MetadataIndexTemplateService;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.index.Index;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.plugins.ActionPlugin.ActionHandler;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.action.RestToXContentListener;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.transport.TransportService;

/** What the module data-streams adds to those of the server: to get and to delete. */
final class DataStreams {

    private static final String PATH = "/_data_stream/{name}";

    private DataStreams() {}

    static List<ActionHandler<? extends ActionRequest, ? extends ActionResponse>> actions() {
        return List.of(
            new ActionHandler<>(GetDataStreamAction.INSTANCE, Get.class),
            new ActionHandler<>(DeleteDataStreamAction.INSTANCE, Delete.class));
    }

    static List<RestHandler> handlers() {
        return List.of(
            Rest.handler("data_stream_get", (request, client) -> {
                var names = Strings.splitStringByCommaToArray(request.param("name", "*"));
                var get = new GetDataStreamAction.Request(StateAction.PATIENCE, names);
                return channel -> client.execute(GetDataStreamAction.INSTANCE, get,
                    new RestToXContentListener<>(channel));
            }, Rest.route(GET, "/_data_stream"), Rest.route(GET, PATH)),
            Rest.handler("data_stream_delete", (request, client) -> {
                var names = Strings.splitStringByCommaToArray(request.param("name"));
                var delete = new DeleteDataStreamAction.Request(StateAction.PATIENCE, names);
                return channel -> client.execute(DeleteDataStreamAction.INSTANCE, delete,
                    new RestToXContentListener<>(channel));
            }, Rest.route(DELETE, PATH)));
    }

    public static class Get
            extends StateAction<GetDataStreamAction.Request, GetDataStreamAction.Response> {

        @Inject
        public Get(TransportService transport, ActionFilters filters,
                ClusterService cluster, IndexNameExpressionResolver resolver) {
            super(GetDataStreamAction.NAME, transport, filters, cluster, resolver,
                GetDataStreamAction.Request::new);
        }

        @Override
        protected void doExecute(Task task, GetDataStreamAction.Request request,
                ActionListener<GetDataStreamAction.Response> listener) {
            ActionListener.completeWith(listener, () -> {
                var state = cluster.state();
                var names = DataStreamsActionUtil.getDataStreamNames(
                    resolver, state, request.getNames(), request.indicesOptions());
                return new GetDataStreamAction.Response(
                    names.stream().map(name -> described(state, name)).toList());
            });
        }

        private static GetDataStreamAction.Response.DataStreamInfo described(
                ClusterState state, String name) {
            var stream = state.metadata().dataStreams().get(name);
            var indices = stream.getIndices().stream().map(Index::getName).toArray(String[]::new);
            var template =
                MetadataIndexTemplateService.findV2Template(state.metadata(), name, false);
            var settings = template == null
                ? Settings.EMPTY
                : MetadataIndexTemplateService.resolveSettings(state.metadata(), template);
            return new GetDataStreamAction.Response.DataStreamInfo(
                stream, false, new ClusterStateHealth(state, indices).getStatus(), template,
                settings.get("index.lifecycle.name"), null, Map.of(),
                settings.getAsBoolean("index.lifecycle.prefer_ilm", true), null, "standard");
        }
    }

    public static class Delete
            extends StateAction<DeleteDataStreamAction.Request, AcknowledgedResponse> {

        @Inject
        public Delete(TransportService transport, ActionFilters filters,
                ClusterService cluster, IndexNameExpressionResolver resolver) {
            super(DeleteDataStreamAction.NAME, transport, filters, cluster, resolver,
                DeleteDataStreamAction.Request::new);
        }

        @Override
        protected void doExecute(Task task, DeleteDataStreamAction.Request request,
                ActionListener<AcknowledgedResponse> listener) {
            update(listener, state -> {
                var gone = new HashSet<Index>();
                var metadata = Metadata.builder(state.metadata());
                for (var name : DataStreamsActionUtil.getDataStreamNames(
                        resolver, state, request.getNames(), request.indicesOptions())) {
                    gone.addAll(state.metadata().dataStreams().get(name).getIndices());
                    metadata.removeDataStream(name);
                }
                var without = ClusterState.builder(state).metadata(metadata).build();
                return MetadataDeleteIndexService.deleteIndices(
                    without, gone, cluster.getSettings());
            });
        }
    }
}
