package shim;

import java.util.function.UnaryOperator;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.HandledTransportAction;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.cluster.AckedClusterStateUpdateTask;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.io.stream.Writeable;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.transport.TransportService;

/**
 * An action that reads or changes the cluster's state, on a cluster of one node.
 *
 * <p>It bears the real action's name: that is what x-pack-security grants or refuses.
 */
abstract class StateAction<Q extends ActionRequest, R extends ActionResponse>
        extends HandledTransportAction<Q, R> {

    static final TimeValue PATIENCE = TimeValue.timeValueSeconds(30);

    final ClusterService cluster;
    final IndexNameExpressionResolver resolver;

    StateAction(String name, TransportService transport, ActionFilters filters,
            ClusterService cluster, IndexNameExpressionResolver resolver,
            Writeable.Reader<Q> reader) {
        super(name, transport, filters, reader, cluster.threadPool().executor("management"));
        this.cluster = cluster;
        this.resolver = resolver;
    }

    void update(
            ActionListener<AcknowledgedResponse> listener, UnaryOperator<ClusterState> change) {
        cluster.submitUnbatchedStateUpdateTask(actionName,
            new AckedClusterStateUpdateTask(PATIENCE, PATIENCE, listener) {
                @Override
                public ClusterState execute(ClusterState state) {
                    return change.apply(state);
                }
            });
    }
}
